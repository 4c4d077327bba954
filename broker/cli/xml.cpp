// SPDX-License-Identifier: Apache-2.0
#include <fstream>
#include <iostream>
#include <iterator>

#include "broker/cli/session.h"
#include "hypervisors/libvirt/domain_xml.h"
#include "hypervisors/libvirt/hostdev_xml.h"

namespace slicebroker::broker::cli {
namespace {

Error usage(std::string fact, std::string hint) {
  Error error;
  error.code = ErrorCode::kUsage;
  error.tried = "write XML";
  error.fact = std::move(fact);
  error.hint = std::move(hint);
  return error;
}

Result<std::string> read_all(const std::string& file) {
  if (file == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return fail(os_error("read the domain's XML", file, errno));
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

Result<std::string> domain_xml(const Broker& broker, const std::string& file, const Target& target) {
  SLICEBROKER_TRY(const auto text, read_all(file));
  SLICEBROKER_TRY(const auto domain, hypervisors::libvirt::read_domain(text));
  if (domain.requests.empty()) {
    return fail(usage("the domain's <metadata> has no slicebroker request",
                      "add <slicebroker:request xmlns:slicebroker='urn:slicebroker:1'>"
                      "<slicebroker:device selector='...'/></slicebroker:request>"));
  }
  if (domain.cloud_hypervisor) {
    // libvirt's ch driver drops a mediated device silently and its domains run no hooks.
    return fail(usage("the domain is made for libvirt's Cloud Hypervisor driver, which runs no hook",
                      "attach to the VMM itself: slicebroker attach ch:SOCKET SELECTOR"));
  }
  SLICEBROKER_TRY(const auto attachments, broker.plan_domain(domain, target));
  return hypervisors::libvirt::complete_domain(text, attachments);
}

Result<Output> hostdev_xml(const Session& session, const Question& question) {
  SLICEBROKER_TRY(const auto answer, ask(session, question));
  SLICEBROKER_TRY(const auto attachment, answer.attachment("write XML for"));
  std::string text;
  for (const auto& element : hypervisors::libvirt::hostdev_xml(attachment)) text += element + "\n";
  return Output{render_verbatim("xml", text, session.format())};
}

Result<Output> xml(const Session& session, const Question& question, const std::string& domain_file) {
  if (question.selector.empty() == domain_file.empty()) {
    return fail(usage("it takes either a selector or --domain FILE", "see: slicebroker xml --help"));
  }
  SLICEBROKER_TRY(const auto target, Session::target(question.hypervisor));
  if (target.hypervisor != hypervisors::HypervisorKind::kLibvirt) {
    return fail(usage("only libvirt is told by XML", "for another hypervisor: slicebroker args SELECTOR --for H"));
  }
  if (domain_file.empty()) return hostdev_xml(session, question);
  SLICEBROKER_TRY(const auto broker, session.broker());
  SLICEBROKER_TRY(const auto text, domain_xml(broker, domain_file, target));
  return Output{render_verbatim("xml", text, session.format())};
}

}  // namespace

void add_xml(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("xml", "libvirt XML: a <hostdev> for a selector, or a whole domain made real");
  const auto question = std::make_shared<Question>();
  const auto domain_file = std::make_shared<std::string>();
  question->add_to(*command);
  command
      ->add_option("--domain", *domain_file, "domain XML whose <slicebroker:request> is to be made real ('-': stdin)")
      ->type_name("FILE");
  session.run(*command, [&session, question, domain_file] { return xml(session, *question, *domain_file); });
}

}  // namespace slicebroker::broker::cli
