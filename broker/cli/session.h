// SPDX-License-Identifier: Apache-2.0
// What the verbs share: the global options, the broker made from them, and how a result leaves the program.
#pragma once

#include <CLI/CLI.hpp>

#include <chrono>
#include <functional>
#include <string>

#include "broker/render/render.h"
#include "broker/service/broker.h"

namespace slicebroker::broker::cli {

// What a verb has to say on stdout, and the status that it ends with.
struct Output {
  std::string text;
  int status = 0;
};

inline constexpr std::chrono::seconds kDetachDeadline{30};

class Session {
 public:
  // Adds the global options to the program.
  explicit Session(CLI::App& app);

  Format format() const { return output_ == "json" ? Format::kJson : Format::kTable; }
  int status() const { return status_; }

  // The broker on the host and ledger that the options name, under the policy. Errors: the root can't be opened, the
  // policy is not in order.
  Result<Broker> broker(std::chrono::milliseconds detach_deadline = kDetachDeadline,
                        std::chrono::milliseconds wait = {}) const;

  // The same for what only looks or gives back: a policy that is not in order must not keep a device with its VM.
  Result<Broker> broker_without_policy(std::chrono::milliseconds detach_deadline = kDetachDeadline,
                                       std::chrono::milliseconds wait = {}) const;

  // The policy in force: of the file that the options name, which must be there, or of the default file if it is.
  Result<Policy> policy() const;
  std::string policy_file() const;

  // The VM that an argument names; a socket's path is made absolute, so that a lease finds it from anywhere.
  static Result<hypervisors::VmReference> vm(const std::string& text);

  // "libvirt", "ch@53.0" -> Target; empty: libvirt of unknown version.
  static Result<Target> target(const std::string& text);

  // Makes `verb` the command's work: its text goes to stdout, its error to stderr (or, as JSON, to stdout).
  void run(CLI::App& command, std::function<Result<Output>()> verb);

  // Prints a failure and sets the status.
  void report(const Error& error);

 private:
  Result<Broker> make_broker(std::chrono::milliseconds detach_deadline, std::chrono::milliseconds wait,
                             Policy in_force) const;

  std::string root_ = "/";
  std::string state_ = "/var/lib/slicebroker";
  std::string policy_file_;  // empty: the default one
  std::string nvml_ = "libnvidia-ml.so.1";
  std::string libvirt_uri_ = "qemu:///system";
  std::string output_ = "table";
  double deadline_seconds_ = 20;
  double hypervisor_deadline_seconds_ = std::chrono::duration<double>(hypervisors::kAttachDeadline).count();
  bool verbose_ = false;
  int status_ = 0;
};

// --wait SECONDS
void add_wait(CLI::App& command, double& seconds);
std::chrono::milliseconds seconds_to_milliseconds(double seconds);

// The options by which a request is qualified: --fallback, --isolation, --allow-group-member, --allow-nvswitch.
struct RequestArguments {
  std::string fallback;   // empty: as the policy's defaults say
  std::string isolation;  // the same
  std::vector<std::string> group_members;
  bool allow_nvswitch = false;

  void add_to(CLI::App& command);
  Result<RequestOptions> options() const;
};

// What explain, xml and args ask alike: a selector, for whom, and how qualified.
struct Question {
  std::string selector;
  std::string hypervisor;
  RequestArguments request;

  void add_to(CLI::App& command);
};
struct Answer {
  Selector selector;
  Target target;
  Resolution resolution;

  // Errors: the refusal, where nothing is granted.
  Result<hypervisors::Attachment> attachment(const std::string& tried) const;
};
Result<Answer> ask(const Session& session, const Question& question);

// One verb each, in its own file.
void add_list(CLI::App& app, Session& session);
void add_show(CLI::App& app, Session& session);
void add_explain(CLI::App& app, Session& session);
void add_attach(CLI::App& app, Session& session);
void add_detach(CLI::App& app, Session& session);
void add_xml(CLI::App& app, Session& session);
void add_args(CLI::App& app, Session& session);
void add_hook(CLI::App& app, Session& session);
void add_reconcile(CLI::App& app, Session& session);
void add_policy(CLI::App& app, Session& session);
void add_reasons(CLI::App& app, Session& session);
void add_quarantine(CLI::App& app, Session& session);
void add_audit(CLI::App& app, Session& session);
void add_ledger(CLI::App& app, Session& session);
void add_completion(CLI::App& app, Session& session);

}  // namespace slicebroker::broker::cli
