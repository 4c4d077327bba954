// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "broker/cli/session.h"
#include "vfio/base/text.h"

namespace slicebroker::broker::cli {
namespace {

void add_options(const CLI::App& command, std::vector<std::string>& words) {
  for (const auto* option : command.get_options()) {
    for (const auto& text : option->get_lnames()) {
      const std::string word = "--" + text;
      if (std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
    }
  }
}

// The words that may follow a verb: its subcommands, its long options and theirs and, where it takes a selector, their
// keys. Of the program: the verbs and its own options.
std::string words_of(const CLI::App& command) {
  std::vector<std::string> words;
  for (const auto* sub : command.get_subcommands({})) words.push_back(sub->get_name());
  add_options(command, words);
  if (command.get_parent() != nullptr) {
    for (const auto* sub : command.get_subcommands({})) add_options(*sub, words);
  }
  if (command.get_option_no_throw("SELECTOR") != nullptr) {
    for (const auto& key : selector_keys()) words.push_back(key);
  }
  return join(words, " ");
}

// Bash's own completion looks up the verb and offers its words; the list comes from the program's own options.
std::string bash_script(const CLI::App& app) {
  std::string cases;
  for (const auto* command : app.get_subcommands({})) {
    cases += "      " + command->get_name() + ") words=\"" + words_of(*command) + "\"; break ;;\n";
  }
  return "_slicebroker() {\n"
         "  local words=\"" +
         words_of(app) +
         "\" word\n"
         "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "    case $word in\n" +
         cases +
         "    esac\n"
         "  done\n"
         "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
         "  [[ ${COMPREPLY[0]} != *= ]] || compopt -o nospace\n"
         "}\n"
         "complete -o default -F _slicebroker slicebroker\n";
}

}  // namespace

void add_completion(CLI::App& app, Session& session) {
  auto* command = app.add_subcommand("completion", "Shell completion: source <(slicebroker completion bash)");
  const auto shell = std::make_shared<std::string>("bash");
  command->add_option("SHELL", *shell, "bash")->check(CLI::IsMember({"bash"}))->capture_default_str();
  session.run(*command, [&app]() -> Result<Output> { return Output{bash_script(app)}; });
}

}  // namespace slicebroker::broker::cli
