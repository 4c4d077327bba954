// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/ledger_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "broker/ledger/schema.h"
#include "vfio/base/uuid.h"
#include "vfio/host/wait.h"

namespace slicebroker::broker {
namespace {

constexpr int kBusyMs = 10'000;  // transactions last well below a millisecond; this outlasts a hundred of them
constexpr std::size_t kMostProblems = 20;

std::int64_t size_of(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_size : -1;
}

Error os_unusable(const std::string& path, std::string fact, int os_errno) {
  Error error = unusable(path, std::move(fact));
  error.os_errno = os_errno;
  return error;
}

// SQLite knows a database by its name, so what stands there is looked at by name, too. Its files are never opened
// here: closing one would drop the locks that SQLite holds in this process.
Result<void> check_file(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return fail(os_unusable(path, "it can't be looked at", errno));
  if (S_ISDIR(status.st_mode)) return fail(unusable(path, "it is a directory"));
  if (!S_ISREG(status.st_mode)) return fail(unusable(path, "it is no file"));
  if (status.st_size == 0) return fail(unusable(path, "it is empty: what it held was cut off"));
  return {};
}

std::uint32_t big_endian(const unsigned char* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
}

// The sums over the first 24 bytes of a write-ahead log's header (https://www.sqlite.org/fileformat2.html#walformat).
bool is_wal_header(const std::array<unsigned char, 32>& header) {
  const std::uint32_t magic = big_endian(header.data());
  if ((magic & 0xfffffffe) != 0x377f0682) return false;
  std::uint32_t one = 0, two = 0;
  for (std::size_t i = 0; i < 24; i += 8) {
    std::array<std::uint32_t, 2> words{big_endian(&header[i]), big_endian(&header[i + 4])};
    if ((magic & 1) == 0) {  // summed as little-endian words
      for (auto& word : words) word = __builtin_bswap32(word);
    }
    one += words[0] + two;
    two += words[1] + one;
  }
  return one == big_endian(&header[24]) && two == big_endian(&header[28]);
}

// SQLite takes a log that it can't read for an empty one, and so would forget what was committed last.
Result<void> check_log(const std::string& path) {
  const std::string log = path + "-wal";
  const std::int64_t size = size_of(log);
  if (size <= 0) {
    // While it is in use both are there; the log is made first and removed last.
    const auto log_is_gone = [&] { return size_of(path + "-shm") > 0 && size_of(log) < 0; };
    if (log_is_gone() && !vfio::wait_until(std::chrono::milliseconds(100), [&] { return !log_is_gone(); })) {
      return fail(unusable(log, "it is gone, and what was committed last with it"));
    }
    return {};
  }
  std::array<unsigned char, 32> header{};
  std::ifstream file(log, std::ios::binary);
  file.read(reinterpret_cast<char*>(header.data()), header.size());
  const bool never_written = header == std::array<unsigned char, 32>{};
  if (!file || never_written || is_wal_header(header)) return {};  // shorter: its first write was cut off
  return fail(unusable(log, "it is damaged: its header is no write-ahead log's"));
}

Result<Database> open_database(const std::string& path, int flags) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, flags, nullptr);
  Database database(raw);
  if (code != SQLITE_OK) {
    Error error = sqlite_error(raw, "open the ledger", code);
    error.subject = path;
    return fail(std::move(error));
  }
  sqlite3_extended_result_codes(raw, 0);
  sqlite3_busy_timeout(raw, kBusyMs);
  return database;
}

void checkpoint_on_close(sqlite3* database, bool wanted) {
  sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, wanted ? 0 : 1, nullptr);
}

// With everything in the file and nothing in a log, the file is as long as its header says.
Result<void> check_length(sqlite3* database, const std::string& path) {
  SLICEBROKER_TRY(const auto page, read_number(database, "PRAGMA page_size"));
  const auto fits = [&]() -> Result<bool> {
    if (size_of(path + "-wal") > 0) return true;  // in use, or not yet recovered: SQLite's own checks have to do
    SLICEBROKER_TRY(const auto pages, read_number(database, "PRAGMA page_count"));
    const auto size = size_of(path);
    return size >= pages * page && size % page == 0;
  };
  Result<bool> fitted = false;
  const bool fine = vfio::wait_until(std::chrono::milliseconds(100), [&] {
    fitted = fits();
    return !fitted || *fitted;
  });
  if (!fitted) return fail(std::move(fitted).error());
  if (fine) return {};
  return fail(unusable(path, "it is damaged: its end was cut off"));
}

// Everything that may refuse the file, before anything is written to it.
Result<void> check_content(sqlite3* database, const std::string& path, bool left_open) {
  SLICEBROKER_TRY([[maybe_unused]] const auto version, read_schema(database));
  SLICEBROKER_CHECK(check_length(database, path));
  if (!left_open) return {};
  SLICEBROKER_TRY(const auto damage, find_damage(database));
  if (damage.empty()) return {};
  return fail(unusable(path, "it is damaged: " + damage.front()));
}

Result<void> check_writable(sqlite3* database, const std::string& path) {
  if (sqlite3_db_readonly(database, "main") != 1) return {};
  return fail(unusable(path, "it can only be read: its permissions, or a file system that is mounted read-only"));
}

Result<void> sync_path(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int os_errno = errno;
  if (fd >= 0) ::close(fd);
  if (synced) return {};
  return fail(os_unusable(path, "it can't be synced", os_errno));
}

std::string directory_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

// A new database under a name of its own, moved to `path` by put_in_place() or gone with the object.
class Draft {
 public:
  explicit Draft(const std::string& path) : path_(path), draft_(path + ".new-" + Uuid::random().to_string()) {}
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  ~Draft() {
    for (const auto* suffix : {"", "-wal", "-shm", "-journal"}) ::unlink((draft_ + suffix).c_str());
  }

  Result<Database> open() const {
    // SQLite gives its other files the mode of this one.
    const int fd = ::open(draft_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd < 0) return fail(os_unusable(path_, "it can't be made", errno));
    ::close(fd);
    return open_database(draft_, SQLITE_OPEN_READWRITE);
  }

  // The database must be closed. False: somebody else has put one there meanwhile.
  Result<bool> put_in_place() const {
    SLICEBROKER_CHECK(sync_path(draft_));
    if (::link(draft_.c_str(), path_.c_str()) != 0) {
      if (errno == EEXIST) return false;
      return fail(os_unusable(path_, "it can't be made", errno));
    }
    SLICEBROKER_CHECK(sync_path(directory_of(path_)));
    return true;
  }

  // An error about the draft, told of the file that it was to become.
  Error about_path(Error error) const {
    error.subject = path_;
    return error;
  }

 private:
  std::string path_;
  std::string draft_;
};

Result<void> fill(const Draft& draft, const std::string& boot_id) {
  SLICEBROKER_TRY(const auto database, draft.open());
  SLICEBROKER_CHECK(execute(database.get(), "PRAGMA synchronous = FULL", "make the ledger"));
  SLICEBROKER_CHECK(make_schema(database.get(), boot_id));
  return execute(database.get(), "PRAGMA journal_mode = WAL", "make the ledger");
}

Result<void> copy_into(const Draft& draft, sqlite3* source) {
  SLICEBROKER_TRY(const auto database, draft.open());
  auto* copy = sqlite3_backup_init(database.get(), "main", source, "main");
  if (copy != nullptr) {
    sqlite3_backup_step(copy, -1);
    sqlite3_backup_finish(copy);
  }
  if (const int code = sqlite3_errcode(database.get()); code != SQLITE_OK) {
    return fail(sqlite_error(database.get(), "copy the ledger", code));
  }
  SLICEBROKER_TRY(const auto damage, find_damage(database.get()));
  if (damage.empty()) return {};
  return fail(unusable("", "the ledger is damaged, and so is its copy: " + damage.front()));
}

}  // namespace

Result<void> make_ledger_file(const std::string& directory, const std::string& boot_id) {
  const Draft draft(directory + "/ledger.db");
  if (auto filled = fill(draft, boot_id); !filled) return fail(draft.about_path(std::move(filled).error()));
  SLICEBROKER_TRY([[maybe_unused]] const bool first, draft.put_in_place());
  return {};
}

Result<Database> open_ledger_file(const std::string& path, Access access, const std::string& boot_id) {
  SLICEBROKER_CHECK(check_file(path));
  SLICEBROKER_CHECK(check_log(path));
  // In use by another process, or left by one that died.
  const bool left_open = size_of(path + "-wal") > 0;
  SLICEBROKER_TRY(auto database, open_database(path, SQLITE_OPEN_READWRITE));
  auto* raw = database.get();
  checkpoint_on_close(raw, false);
  SLICEBROKER_CHECK(check_content(raw, path, left_open));
  if (access == Access::kWrite) SLICEBROKER_CHECK(check_writable(raw, path));
  checkpoint_on_close(raw, true);
  SLICEBROKER_CHECK(execute(raw, "PRAGMA foreign_keys = ON", "open the ledger"));
  SLICEBROKER_CHECK(execute(raw, "PRAGMA journal_mode = WAL", "open the ledger"));
  SLICEBROKER_CHECK(execute(raw, "PRAGMA synchronous = FULL", "open the ledger"));
  SLICEBROKER_TRY(const auto version, read_schema(raw));
  if (version < kSchemaVersion) SLICEBROKER_CHECK(migrate_schema(raw, boot_id));
  return database;
}

Result<void> copy_ledger_file(sqlite3* database, const std::string& destination) {
  const Draft draft(destination);
  const auto exists = [&] {
    Error error;
    error.code = ErrorCode::kRefused;
    error.reason = "FILE_EXISTS";
    error.tried = "back up the ledger to";
    error.subject = destination;
    error.fact = "something is there already, and is not overwritten";
    error.hint = "name a file that does not exist";
    return fail(std::move(error));
  };
  struct stat status {};
  if (::lstat(destination.c_str(), &status) == 0) return exists();
  if (auto copied = copy_into(draft, database); !copied) {
    Error error = draft.about_path(std::move(copied).error());
    error.tried = "back up the ledger to";
    error.hint = "name another file; the ledger was left as it is";
    return fail(std::move(error));
  }
  SLICEBROKER_TRY(const bool first, draft.put_in_place());
  if (!first) return exists();
  return {};
}

Result<std::vector<std::string>> find_damage(sqlite3* database) {
  std::vector<std::string> problems;
  SLICEBROKER_TRY(auto pages, Statement::prepare(database, "PRAGMA quick_check(20)", "check the ledger"));
  while (problems.size() < kMostProblems) {
    SLICEBROKER_TRY(const bool row, pages.next());
    if (!row) break;
    if (pages.text(0) != "ok") problems.push_back(pages.text(0));
  }
  SLICEBROKER_TRY(auto references, Statement::prepare(database, "PRAGMA foreign_key_check", "check the ledger"));
  while (problems.size() < kMostProblems) {
    SLICEBROKER_TRY(const bool row, references.next());
    if (!row) break;
    problems.push_back("row " + std::to_string(references.number(1)) + " of table " + references.text(0) +
                       " belongs to no " + references.text(2));
  }
  return problems;
}

}  // namespace slicebroker::broker
