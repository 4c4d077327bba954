// SPDX-License-Identifier: Apache-2.0
// histories [--seed S] [--histories N] BINARIES HOST: plays N histories that are drawn from seeds S, S + 1 ... with the
// unmodified program on a simulated host, and holds each step to a small reference (reference.h). The first that is
// broken ends the run: its seed, and what is left of its steps when those are gone that it is broken without.
// Prints how often what was reached.
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <stdexcept>

#include "tests/histories/history.h"

namespace {

namespace fs = std::filesystem;
using namespace slicebroker::histories;
using slicebroker::scenarios::Stage;

struct Arguments {
  unsigned seed = 1;
  unsigned histories = 1000;
  fs::path binaries, host;
};

std::unique_ptr<Stage> make_stage(const Arguments& arguments) {
  auto stage = std::make_unique<Stage>(arguments.host, arguments.binaries, "");
  for (const auto* vm : kVms) {
    if (const auto done = stage->host().command(std::string("domain ") + vm + " define"); !done) {
      throw std::runtime_error(done.error());
    }
  }
  stage->remember();
  return stage;
}

// What is broken; empty: nothing.
std::string play(Stage& stage, const std::vector<Step>& steps, Histogram& reached) {
  try {
    History(stage, reached).play(steps);
    return "";
  } catch (const std::exception& broken) {
    return broken.what();
  }
}

// Leaves out each step that the history is broken without.
std::string shrink(const Arguments& arguments, std::vector<Step>& steps, std::string broken) {
  for (std::size_t i = steps.size(); i-- > 0;) {
    auto fewer = steps;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
    Histogram ignored;
    if (auto still = play(*make_stage(arguments), fewer, ignored); !still.empty()) {
      steps = std::move(fewer);
      broken = std::move(still);
    }
  }
  return broken;
}

int run(const Arguments& arguments) {
  Histogram reached;
  const auto begin = std::chrono::steady_clock::now();
  auto stage = make_stage(arguments);
  for (unsigned i = 0; i < arguments.histories; ++i) {
    std::mt19937 random(arguments.seed + i);
    auto steps = draw_steps(random);
    auto broken = play(*stage, steps, reached);
    if (broken.empty()) continue;
    broken = shrink(arguments, steps, std::move(broken));
    std::cout << "broken with --seed " << arguments.seed + i << " --histories 1:\n";
    for (const auto& step : steps) std::cout << "  " << to_text(step) << "\n";
    std::cout << broken << std::endl;
    return 1;
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  for (const auto& [what, times] : reached) std::printf("%7zu  %s\n", times, what.c_str());
  std::printf("%u histories from seed %u, %.0f s\n", arguments.histories, arguments.seed, time.count());
  return 0;
}

bool parse(int argc, char** argv, Arguments& arguments) {
  int at = 1;
  for (; at + 1 < argc && std::string(argv[at]).starts_with("--"); at += 2) {
    const std::string option = argv[at];
    const auto value = static_cast<unsigned>(std::strtoul(argv[at + 1], nullptr, 10));
    if (option == "--seed") arguments.seed = value;
    if (option == "--histories") arguments.histories = value;
  }
  if (argc - at != 2) return false;
  arguments.binaries = argv[at];
  arguments.host = argv[at + 1];
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    std::cerr << "usage: histories [--seed S] [--histories N] BINARIES HOST\n";
    return 2;
  }
  try {
    return run(arguments);
  } catch (const std::exception& error) {
    std::cerr << "histories: " << error.what() << "\n";
    return 1;
  }
}
