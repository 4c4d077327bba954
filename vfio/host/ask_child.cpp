// SPDX-License-Identifier: Apache-2.0
#include "vfio/host/ask_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>

#include "vfio/host/holders.h"

namespace slicebroker::vfio {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

[[noreturn]] void answer(const Host& host, const Watch& watch, int pipe,
                         const std::function<std::string(const Host&)>& work) {
  try {
    const Host watched{host.root.watched_by(watch), host.nvml_library, host.deadline, host.patience, &watch};
    const std::string bytes = work(watched);
    for (std::string_view left = bytes; !left.empty();) {
      const ssize_t written = ::write(pipe, left.data(), left.size());
      if (written < 0 && errno != EINTR) end_child(EIO);
      left.remove_prefix(written < 0 ? 0 : static_cast<std::size_t>(written));
    }
  } catch (const std::exception&) {
    end_child(ENOMEM);
  }
  end_child(0);
}

milliseconds limit_of(const Host& host, Watch::Kind kind) {
  constexpr milliseconds kGrace{2'000};  // the child's own deadline comes first
  switch (kind) {
    case Watch::Kind::kFile: return host.patience;
    case Watch::Kind::kNvml: return host.deadline;
    case Watch::Kind::kNothing:
    case Watch::Kind::kWrite: break;
  }
  return host.deadline + kGrace;
}

// Reads until the child has closed the pipe; false when it does not get on.
bool read_answer(const Host& host, const Watch& watch, int pipe, std::string& bytes) {
  constexpr int kLooks = 8;  // so much later than its limit, as a fraction, a silence is noticed
  auto last = watch.look().number;
  auto since = Clock::now();
  std::array<char, 1 << 16> buffer;
  while (true) {
    const auto limit = limit_of(host, watch.look().kind);
    pollfd waiting{pipe, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, std::max(1, static_cast<int>(limit.count()) / kLooks));
    if (ready > 0) {
      const ssize_t got = ::read(pipe, buffer.data(), buffer.size());
      if (got > 0) bytes.append(buffer.data(), static_cast<std::size_t>(got));
      if (got == 0 || (got < 0 && errno != EINTR)) return true;
      since = Clock::now();
      continue;
    }
    const auto now = watch.look();
    if (now.number != last) {
      last = now.number;
      since = Clock::now();
    } else if (Clock::now() - since >= limit_of(host, now.kind)) {
      return false;
    }
  }
}

Error silence(const Host& host, const Watch& watch, std::optional<StuckProcess> stuck) {
  const auto at = watch.look();
  const bool nvml = at.kind == Watch::Kind::kNvml;
  Error error;
  error.code = ErrorCode::kNoAnswer;
  error.reason = nvml ? "NVML_SILENT" : "DEVICE_SILENT";
  error.tried = nvml ? "ask" : "read";
  error.subject = nvml ? at.what : host.root.display(at.what);
  error.fact = std::string(nvml ? "NVIDIA's driver" : "the kernel") + " has not answered in " +
               std::to_string(limit_of(host, at.kind).count()) + " ms";
  if (stuck) error.fact += "; process " + std::to_string(stuck->pid) + " is still waiting in it";
  error.hint = nvml ? "see the kernel's log for Xid and GSP messages; the GPU may need a reset"
                    : "something has the device's lock: see slicebroker quarantine list, and the kernel's log";
  error.stuck = stuck;
  return error;
}

// Ends the child, which may go on waiting: SIGKILL takes effect when the kernel lets go of it.
std::optional<StuckProcess> give_up(const Host& host, pid_t pid) {
  constexpr milliseconds kMoment{100};
  ::kill(pid, SIGKILL);
  if (ended_within(pid, kMoment)) {
    ::waitpid(pid, nullptr, 0);
    return std::nullopt;
  }
  const auto process = find_process(host.root, pid);
  return StuckProcess{pid, process ? process->start_time : 0};
}

Error no_child(int os_errno) {
  return os_error("ask a child process", "slicebroker", os_errno);
}

}  // namespace

Result<std::string> ask_child(const Host& host, const Watch& watch, Purpose purpose,
                              const std::function<std::string(const Host&)>& work) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(no_child(errno));
  UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  watch.begin(Watch::Kind::kNothing, "");
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail(no_child(errno));
  if (pid == 0) {
    become_child(parent, purpose == Purpose::kChange ? kWriterName : kReaderName, {host.root.descriptor(), ends[1]});
    answer(host, watch, ends[1], work);
  }
  writing = UniqueFd();
  std::string bytes;
  if (!read_answer(host, watch, reading.get(), bytes)) return fail(silence(host, watch, give_up(host, pid)));
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && !bytes.empty()) return bytes;
  return fail(no_child(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EIO));
}

const Error* find_silence(const Error& error) {
  for (const auto& cause : error.causes) {
    if (const auto* found = find_silence(cause)) return found;
  }
  const bool silent = error.reason == "DEVICE_SILENT" || error.reason == "NVML_SILENT" || error.reason == "WEDGED";
  return silent ? &error : nullptr;
}

}  // namespace slicebroker::vfio
