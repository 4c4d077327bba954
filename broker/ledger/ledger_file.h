// SPDX-License-Identifier: Apache-2.0
// The ledger's file: making it, opening it, refusing what is none, and copying it. A file that is refused is left as it
// is, byte for byte.
#pragma once

#include <string>
#include <vector>

#include "broker/ledger/sqlite.h"

namespace slicebroker::broker {

enum class Access { kRead, kWrite };

// Makes DIRECTORY/ledger.db where there is none: elsewhere first, then moved to its name whole and synced, so that a
// ledger without its tables is never one that is being made.
Result<void> make_ledger_file(const std::string& directory, const std::string& boot_id);

// Opens a file that is there, and brings an older schema to the newest. Errors: LEDGER_UNUSABLE.
Result<Database> open_ledger_file(const std::string& path, Access access, const std::string& boot_id);

// A copy at this moment, synced, with its own integrity checked. Errors: kRefused FILE_EXISTS; kFailed.
Result<void> copy_ledger_file(sqlite3* database, const std::string& destination);

// What is wrong with the whole file: SQLite's own check of every page and index, and of references between tables.
Result<std::vector<std::string>> find_damage(sqlite3* database);

}  // namespace slicebroker::broker
