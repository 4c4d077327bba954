// SPDX-License-Identifier: Apache-2.0
// SQLite with Results: just what the ledger needs.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "vfio/base/result.h"

namespace slicebroker::broker {

// The way out of a ledger that can't be used; every error about one ends with it.
inline constexpr const char* kWayOut = "the file was left as it is; the way out: slicebroker(8), section LEDGER";

Error ledger_error(std::string reason, std::string subject, std::string fact, std::string hint);
// LEDGER_UNUSABLE, with the file and the way out.
Error unusable(std::string path, std::string fact);
// The Error of a failed call; `tried` is the operation in words.
Error sqlite_error(sqlite3* database, std::string tried, int code);

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close(database); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

Result<void> execute(sqlite3* database, const char* sql, std::string_view tried);
// The first column of the first row; 0 and "" where there is none.
Result<std::int64_t> read_number(sqlite3* database, std::string_view sql);
Result<std::string> read_text(sqlite3* database, std::string_view sql);

// A prepared statement: bind in order, step through rows, read columns by index.
class Statement {
 public:
  static Result<Statement> prepare(sqlite3* database, std::string_view sql, std::string_view tried);

  Statement& bind(std::int64_t value);
  Statement& bind(std::string_view text);
  Statement& bind_optional(const std::optional<std::string>& text);  // NULL where there is none

  Result<bool> next();  // whether there is a row
  Result<void> run();   // for statements without rows

  std::int64_t number(int column) const;
  std::string text(int column) const;  // "" for NULL
  bool is_null(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  sqlite3* database_ = nullptr;
  std::string tried_;
  int next_parameter_ = 1;
};

// One consistent view over several queries: BEGIN; it ends with the object, having changed nothing.
class ReadTransaction {
 public:
  static Result<ReadTransaction> begin(sqlite3* database);
  ReadTransaction(ReadTransaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  ReadTransaction& operator=(ReadTransaction&&) = delete;
  ~ReadTransaction();

 private:
  explicit ReadTransaction(sqlite3* database) : database_(database) {}
  sqlite3* database_;
};

// BEGIN IMMEDIATE; rolled back when it is destroyed without commit().
class Transaction {
 public:
  static Result<Transaction> begin(sqlite3* database, std::string_view tried);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<void> commit();

 private:
  explicit Transaction(sqlite3* database) : database_(database) {}
  sqlite3* database_;
};

}  // namespace slicebroker::broker
