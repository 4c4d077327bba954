// SPDX-License-Identifier: Apache-2.0
// The ledger's tables and how they came to be. PRAGMA user_version is the schema, application_id says whose it is.
#pragma once

#include <cstdint>
#include <string>

#include "broker/ledger/sqlite.h"

namespace slicebroker::broker {

inline constexpr std::int64_t kSchemaVersion = 2;
inline constexpr std::int64_t kApplicationId = 0x736c6272;  // "slbr"

// The schema of the database that is open, which is a ledger. Errors: LEDGER_UNUSABLE for another program's database
// and for a newer schema.
Result<std::int64_t> read_schema(sqlite3* database);

// Makes the tables in an empty database, or brings version 1 to the newest; one transaction.
Result<void> make_schema(sqlite3* database, const std::string& boot_id);
Result<void> migrate_schema(sqlite3* database, const std::string& boot_id);

}  // namespace slicebroker::broker
