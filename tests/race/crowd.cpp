// SPDX-License-Identifier: Apache-2.0
#include "tests/race/crowd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

#include "vfio/base/unique_fd.h"

namespace slicebroker::race {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error("a crowd of processes: " + what);
}

UniqueFd memory_file(const std::string& text) {
  UniqueFd file(::memfd_create("crowd", MFD_CLOEXEC));
  if (file.get() < 0) fail("no memory");
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) fail("no memory");
  ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

std::string text_of(int file) {
  std::string text;
  std::array<char, 4096> buffer;
  ::lseek(file, 0, SEEK_SET);
  for (ssize_t size; (size = ::read(file, buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(size));
  }
  return text;
}

struct Member {
  pid_t pid = -1;
  UniqueFd output;
};

// Made and not let go: it waits for its byte from the gate.
Member start(const Command& command, int gate) {
  std::vector<char*> words;
  for (const auto& word : command.words) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const auto input = memory_file(command.input);
  Member member{-1, memory_file("")};
  member.pid = ::fork();
  if (member.pid < 0) fail("no process");
  if (member.pid > 0) return member;
  // Other threads may hold locks at the fork: nothing here may allocate.
  ::dup2(input.get(), STDIN_FILENO);
  ::dup2(member.output.get(), STDOUT_FILENO);
  ::dup2(member.output.get(), STDERR_FILENO);
  char byte = 0;
  [[maybe_unused]] const auto opened = ::read(gate, &byte, 1);
  ::execvp(words.front(), words.data());
  ::_exit(127);
}

}  // namespace

std::vector<Ending> run_at_once(const std::vector<Command>& commands) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail("no pipe");
  const UniqueFd gate(ends[0]);
  UniqueFd bolt(ends[1]);
  std::vector<Member> members;
  for (const auto& command : commands) members.push_back(start(command, gate.get()));
  const std::string go(members.size(), '.');
  if (::write(bolt.get(), go.data(), go.size()) != static_cast<ssize_t>(go.size())) fail("they do not start");
  std::vector<Ending> endings;
  for (auto& member : members) {
    int status = 0;
    ::waitpid(member.pid, &status, 0);
    endings.push_back({WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text_of(member.output.get())});
  }
  return endings;
}

}  // namespace slicebroker::race
