// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/histories/reference.h"
#include "tests/scenarios/stage.h"

namespace slicebroker::histories {

// What happens next. It is drawn without a look at what was before, so that any part of a history is one as well.
struct Step {
  enum class Kind { kAttach, kDetach, kReconcile, kStart, kEnd, kReboot, kForeign, kQuarantine, kCount };
  enum class Cut { kNot, kKilledBefore, kKilledAfter, kFailed };
  Kind kind = Kind::kAttach;
  unsigned vm = 0;
  unsigned device = 0;
  Cut cut = Cut::kNot;  // of a command: at its operation number `at` on the host
  unsigned at = 0;
};

std::vector<Step> draw_steps(std::mt19937& random);
std::string to_text(const Step& step);

using Histogram = std::map<std::string, std::size_t>;

// Plays steps on a stage that is as it was at its beginning, and leaves it so. Throws what is broken.
class History {
 public:
  History(scenarios::Stage& stage, Histogram& reached);
  void play(const std::vector<Step>& steps);

 private:
  void perform(const Step& step);
  void attach(const Step& step);
  void detach(const Step& step);
  void reconcile(const Step& step);
  void change_foreign(unsigned device);
  void change_quarantine(unsigned device);
  void finish();

  int run(const std::vector<std::string>& words, const Step& step);
  void control(const std::string& line);
  void settle();
  void check_ledger();
  std::vector<int> holders() const;
  void expect(const std::string& what, const std::set<int>& statuses, int status) const;

  scenarios::Stage& stage_;
  Histogram& reached_;
  Reference reference_;
  std::string output_;  // of the last command
};

}  // namespace slicebroker::histories
