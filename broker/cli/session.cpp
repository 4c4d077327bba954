// SPDX-License-Identifier: Apache-2.0
#include "broker/cli/session.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "broker/policy/policy_file.h"
#include "broker/render/error.h"

namespace slicebroker::broker::cli {
namespace {

Error usage(std::string tried, std::string subject, std::string hint) {
  Error error;
  error.code = ErrorCode::kUsage;
  error.tried = std::move(tried);
  error.subject = std::move(subject);
  error.hint = std::move(hint);
  return error;
}

}  // namespace

Session::Session(CLI::App& app) {
  app.add_option("--root", root_, "directory that is the host's / (sys, proc, dev below it)")
      ->envname("SLICEBROKER_ROOT")
      ->capture_default_str()
      ->type_name("DIR");
  app.add_option("--state", state_, "directory of the ledger")
      ->envname("SLICEBROKER_STATE")
      ->capture_default_str()
      ->type_name("DIR");
  app.add_option("--config", policy_file_,
                 "the policy; without it " + std::string(kDefaultPolicyFile) + " if it is there")
      ->envname("SLICEBROKER_CONFIG")
      ->type_name("FILE");
  app.add_option("--nvml", nvml_, "NVIDIA's management library")
      ->envname("SLICEBROKER_NVML")
      ->capture_default_str()
      ->type_name("FILE");
  app.add_option("--libvirt-uri", libvirt_uri_, "which libvirt to talk to")
      ->envname("SLICEBROKER_LIBVIRT_URI")
      ->capture_default_str()
      ->type_name("URI");
  app.add_option("--deadline", deadline_seconds_, "how long the kernel, or NVIDIA's driver, may take for one change")
      ->envname("SLICEBROKER_DEADLINE")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str()
      ->type_name("SECONDS");
  app.add_option("--hypervisor-deadline", hypervisor_deadline_seconds_,
                 "how long a hypervisor may take to attach a device, for which it pins the guest's memory")
      ->envname("SLICEBROKER_HYPERVISOR_DEADLINE")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str()
      ->type_name("SECONDS");
  app.add_option("-o,--output", output_, "table or json")
      ->envname("SLICEBROKER_OUTPUT")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app.add_flag("-v,--verbose", verbose_, "say each step on stderr (a terminal gets them anyway)");
}

std::string Session::policy_file() const {
  return policy_file_.empty() ? kDefaultPolicyFile : policy_file_;
}

Result<Policy> Session::policy() const {
  return policy_file_.empty() ? find_policy(kDefaultPolicyFile) : read_policy(policy_file_);
}

Result<Broker> Session::broker(std::chrono::milliseconds detach_deadline, std::chrono::milliseconds wait) const {
  SLICEBROKER_TRY(auto in_force, policy());
  return make_broker(detach_deadline, wait, std::move(in_force));
}

Result<Broker> Session::broker_without_policy(std::chrono::milliseconds detach_deadline,
                                              std::chrono::milliseconds wait) const {
  return make_broker(detach_deadline, wait, Policy{});
}

Result<Broker> Session::make_broker(std::chrono::milliseconds detach_deadline, std::chrono::milliseconds wait,
                                    Policy in_force) const {
  SLICEBROKER_TRY(auto root, vfio::HostRoot::open(root_));
  vfio::Host host{.root = std::move(root), .nvml_library = nvml_};
  host.deadline = seconds_to_milliseconds(deadline_seconds_);
  host.patience = std::min(host.patience, host.deadline);
  Environment environment{
      .host = std::move(host),
      .state_directory = state_,
      .connect = [uri = libvirt_uri_, deadline = seconds_to_milliseconds(hypervisor_deadline_seconds_)](
                     const hypervisors::VmReference& vm) { return hypervisors::make_hypervisor(vm, uri, deadline); },
      .listener = {},
      .detach_deadline = detach_deadline,
      .policy = std::move(in_force),
      .wait = wait,
      .waits = [](const std::string& who) { std::cerr << "waiting: " << who << "\n"; }};
  if (verbose_ || ::isatty(STDERR_FILENO) != 0) {
    environment.listener = [](const StepEvent& event) {
      std::cerr << "lease " << event.generation << ": " << event.step << ": " << name(event.state) << "\n";
    };
  }
  return Broker(std::move(environment));
}

Result<hypervisors::VmReference> Session::vm(const std::string& text) {
  SLICEBROKER_TRY(auto vm, hypervisors::VmReference::parse(text));
  if (vm.kind == hypervisors::HypervisorKind::kCloudHypervisor) {
    std::error_code failed;
    const auto path = std::filesystem::absolute(vm.target, failed).lexically_normal();
    if (!failed) vm.target = path.string();
  }
  return vm;
}

Result<Target> Session::target(const std::string& text) {
  Target target;
  if (text.empty()) return target;
  const auto at = text.find('@');
  const auto kind = hypervisors::parse_kind(text.substr(0, at));
  if (!kind) {
    return fail(
        usage("understand --for", text, "use libvirt or cloud-hypervisor (ch), with @VERSION where it matters"));
  }
  target.hypervisor = *kind;
  if (at == std::string::npos) return target;
  target.version = hypervisors::Version::parse(text.substr(at + 1));
  if (!target.version) return fail(usage("understand --for", text, "a version looks like libvirt@11.3"));
  return target;
}

void Session::run(CLI::App& command, std::function<Result<Output>()> verb) {
  command.callback([this, verb = std::move(verb)] {
    const auto output = verb();
    if (!output) {
      report(output.error());
      return;
    }
    std::cout << output->text << std::flush;
    status_ = output->status;
  });
}

void Session::report(const Error& error) {
  if (format() == Format::kJson) {
    std::cout << error_json(error) << std::flush;
  } else {
    std::cerr << error_text(error);
  }
  status_ = exit_status(error.code);
}

std::chrono::milliseconds seconds_to_milliseconds(double seconds) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::duration<double>(seconds));
}

void add_wait(CLI::App& command, double& seconds) {
  command.add_option("--wait", seconds, "how long to wait for processes of the host that have the device open")
      ->check(CLI::Range(0.0, 86400.0))
      ->type_name("SECONDS");
}

void RequestArguments::add_to(CLI::App& command) {
  command
      .add_option(
          "--fallback", fallback,
          "what may stand in for a slice that exists and can't be surfaced; gpu, unless the policy says otherwise")
      ->check(CLI::IsMember({"none", "gpu"}));
  command
      .add_option("--isolation", isolation, "the least isolation that will do; any, unless the policy says otherwise")
      ->check(CLI::IsMember({"any", "time-sliced", "hardware"}));
  command
      .add_option("--allow-group-member", group_members,
                  "function of the IOMMU group that may be taken from its host driver (repeatable)")
      ->type_name("ADDRESS")
      ->take_all();
  command.add_flag("--allow-nvswitch", allow_nvswitch,
                   "take a whole GPU of an NVSwitch host: its fabric partition is seen to");
}

Result<RequestOptions> RequestArguments::options() const {
  RequestOptions options;
  options.allow_nvswitch = allow_nvswitch;
  options.fallback = parse_fallback(fallback);
  options.isolation = parse_isolation(isolation);
  for (const auto& text : group_members) {
    const auto address = PciAddress::parse(text);
    if (!address) return fail(usage("understand --allow-group-member", text, "a PCI address looks like 0000:41:00.1"));
    options.allowed_group_members.insert(*address);
  }
  return options;
}

void Question::add_to(CLI::App& command) {
  command.add_option("SELECTOR", selector, "MIG-<uuid>, profile=, type=, memory=, mdev=, vf= or gpu=");
  command.add_option("--for", hypervisor, "hypervisor that is to attach it: libvirt@11.3, ch@53.0")
      ->type_name("HYPERVISOR[@VERSION]");
  request.add_to(command);
}

Result<Answer> ask(const Session& session, const Question& question) {
  SLICEBROKER_TRY(const auto selector, parse_selector(question.selector));
  SLICEBROKER_TRY(const auto target, Session::target(question.hypervisor));
  SLICEBROKER_TRY(const auto options, question.request.options());
  SLICEBROKER_TRY(const auto broker, session.broker());
  SLICEBROKER_TRY(auto resolution, broker.explain(selector, target, options));
  return Answer{selector, target, std::move(resolution)};
}

Result<hypervisors::Attachment> Answer::attachment(const std::string& tried) const {
  const auto* granted = resolution.granted();
  if (granted == nullptr) return fail(caused_by(tried, to_string(selector), refusal(resolution)));
  auto attachment = granted->plan.attachment;
  attachment.id = "slicebroker";
  return attachment;
}

}  // namespace slicebroker::broker::cli
