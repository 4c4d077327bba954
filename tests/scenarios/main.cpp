// SPDX-License-Identifier: Apache-2.0
// scenario [--update] BINARIES HOSTS FILE: runs a transcript (see transcript.h) on its simulated host and ends with 1
// where anything differs; --update writes what was seen into FILE. Every command that must change nothing ("explain",
// "list", "show", "xml", "args", --dry-run) is run twice: both answers and the host must be the same.
#include <filesystem>
#include <fstream>
#include <iostream>

#include "tests/scenarios/stage.h"
#include "tests/scenarios/transcript.h"

namespace {

namespace fs = std::filesystem;
using namespace slicebroker::scenarios;

bool changes_nothing(const std::string& command) {
  for (const auto* verb : {"slicebroker explain", "slicebroker list", "slicebroker show", "slicebroker xml",
                           "slicebroker args", "--dry-run"}) {
    if (command.find(verb) != std::string::npos) return true;
  }
  return false;
}

void perform(Entry& entry, Stage& stage) {
  if (entry.kind == Entry::Kind::kControl) {
    if (const auto done = stage.host().command(entry.text); !done) fail(entry.text + ": " + done.error());
  } else if (entry.kind == Entry::Kind::kRemember) {
    stage.remember();
  } else if (entry.kind == Entry::Kind::kSame) {
    stage.check_same();
  } else if (entry.kind != Entry::Kind::kComment) {
    const bool twice = entry.kind == Entry::Kind::kCommand && changes_nothing(entry.text);
    auto answer = twice ? stage.run_twice(entry.text) : stage.run(entry.text);
    entry.output = std::move(answer.output);
    entry.status = answer.status;
  }
}

// What a transcript does, without what came of it.
std::string input_of(const Transcript& transcript) {
  std::string text;
  for (const auto& entry : transcript.entries) text += entry.text + "\n";
  return text;
}

// The exit status.
int play(const fs::path& binaries, const fs::path& hosts, const fs::path& file, bool update) {
  const auto wanted = read_file(file);
  auto transcript = parse_transcript(wanted);
  if (!transcript) fail(file.string() + ": " + transcript.error());
  std::vector<std::string> unmodelled;
  {
    const auto name = transcript->host + ".host";
    const auto beside = file.parent_path() / name;
    Stage stage(fs::exists(beside) ? beside : hosts / name, binaries, input_of(*transcript));
    for (auto& entry : transcript->entries) perform(entry, stage);
    unmodelled = stage.host().unmodelled();
  }
  for (const auto& write : unmodelled) std::cerr << "not modelled: " << write << "\n";
  const auto seen = to_text(*transcript);
  if (update) {
    std::ofstream(file) << seen;
  } else if (seen != wanted) {
    fail(file.string() + " (first) and what is seen differ at " + difference(wanted, seen));
  }
  return unmodelled.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const bool update = argc == 5 && std::string(argv[1]) == "--update";
  if (argc != 4 && !update) {
    std::cerr << "usage: scenario [--update] BINARIES HOSTS FILE\n";
    return 2;
  }
  try {
    return play(argv[argc - 3], argv[argc - 2], argv[argc - 1], update);
  } catch (const std::exception& error) {
    std::cerr << "scenario: " << error.what() << "\n";
    return 1;
  }
}
