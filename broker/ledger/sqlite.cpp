// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/sqlite.h"

#include <utility>

namespace slicebroker::broker {

Error ledger_error(std::string reason, std::string subject, std::string fact, std::string hint) {
  Error error;
  error.reason = std::move(reason);
  error.tried = "use the ledger";
  error.subject = std::move(subject);
  error.fact = std::move(fact);
  error.hint = std::move(hint);
  return error;
}

Error unusable(std::string path, std::string fact) {
  return ledger_error("LEDGER_UNUSABLE", std::move(path), std::move(fact), kWayOut);
}

Error sqlite_error(sqlite3* database, std::string tried, int code) {
  Error error;
  error.reason = "LEDGER_UNUSABLE";
  error.tried = std::move(tried);
  const char* file = database != nullptr ? sqlite3_db_filename(database, "main") : nullptr;
  error.subject = file != nullptr ? file : "ledger";
  error.fact = database != nullptr ? sqlite3_errmsg(database) : sqlite3_errstr(code);
  error.os_errno = database != nullptr ? sqlite3_system_errno(database) : 0;
  error.hint = kWayOut;
  return error;
}

Result<void> execute(sqlite3* database, const char* sql, std::string_view tried) {
  const int code = sqlite3_exec(database, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return fail(sqlite_error(database, std::string(tried), code));
  return {};
}

Result<std::int64_t> read_number(sqlite3* database, std::string_view sql) {
  SLICEBROKER_TRY(auto query, Statement::prepare(database, sql, "read the ledger"));
  SLICEBROKER_TRY(const bool row, query.next());
  return row ? query.number(0) : 0;
}

Result<std::string> read_text(sqlite3* database, std::string_view sql) {
  SLICEBROKER_TRY(auto query, Statement::prepare(database, sql, "read the ledger"));
  SLICEBROKER_TRY(const bool row, query.next());
  return row ? query.text(0) : std::string();
}

Result<Statement> Statement::prepare(sqlite3* database, std::string_view sql, std::string_view tried) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v2(database, sql.data(), static_cast<int>(sql.size()), &raw, nullptr);
  if (code != SQLITE_OK) return fail(sqlite_error(database, std::string(tried), code));
  Statement statement;
  statement.statement_.reset(raw);
  statement.database_ = database;
  statement.tried_ = tried;
  return statement;
}

Statement& Statement::bind(std::int64_t value) {
  sqlite3_bind_int64(statement_.get(), next_parameter_++, value);
  return *this;
}

Statement& Statement::bind(std::string_view text) {
  sqlite3_bind_text(statement_.get(), next_parameter_++, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
  return *this;
}

Statement& Statement::bind_optional(const std::optional<std::string>& text) {
  if (text) return bind(std::string_view(*text));
  sqlite3_bind_null(statement_.get(), next_parameter_++);
  return *this;
}

Result<bool> Statement::next() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return fail(sqlite_error(database_, tried_, code));
}

Result<void> Statement::run() {
  SLICEBROKER_TRY([[maybe_unused]] const bool row, next());
  return {};
}

std::int64_t Statement::number(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

std::string Statement::text(int column) const {
  const auto* bytes = sqlite3_column_text(statement_.get(), column);
  if (bytes == nullptr) return {};
  return {reinterpret_cast<const char*>(bytes),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

Result<ReadTransaction> ReadTransaction::begin(sqlite3* database) {
  SLICEBROKER_CHECK(execute(database, "BEGIN", "read the ledger"));
  return ReadTransaction(database);
}

ReadTransaction::~ReadTransaction() {
  if (database_ != nullptr) sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
}

Result<Transaction> Transaction::begin(sqlite3* database, std::string_view tried) {
  SLICEBROKER_CHECK(execute(database, "BEGIN IMMEDIATE", tried));
  return Transaction(database);
}

Transaction::~Transaction() {
  if (database_ != nullptr) sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
}

Result<void> Transaction::commit() {
  SLICEBROKER_CHECK(execute(database_, "COMMIT", "commit to the ledger"));
  database_ = nullptr;
  return {};
}

}  // namespace slicebroker::broker
