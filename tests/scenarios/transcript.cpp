// SPDX-License-Identifier: Apache-2.0
#include "tests/scenarios/transcript.h"

#include <charconv>

namespace slicebroker::scenarios {
namespace {

constexpr std::string_view kHost = "host ";
constexpr std::string_view kRemember = "= remember";
constexpr std::string_view kSame = "= same";
constexpr std::string_view kIndent = "  ";  // of output

// "[4]" -> 4.
bool parse_status(std::string_view line, int& status) {
  if (line.size() < 3 || line.front() != '[' || line.back() != ']') return false;
  const auto* end = line.data() + line.size() - 1;
  const auto parsed = std::from_chars(line.data() + 1, end, status);
  return parsed.ec == std::errc() && parsed.ptr == end;
}

bool is_command(const Entry& entry) {
  return entry.kind == Entry::Kind::kCommand || entry.kind == Entry::Kind::kCommandOnce;
}

std::string indented(std::string_view lines) {
  std::string text;
  while (!lines.empty()) {
    const auto end = lines.find('\n');
    text.append(kIndent).append(lines.substr(0, end)).append("\n");
    lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
  }
  return text;
}

}  // namespace

tl::expected<Transcript, std::string> parse_transcript(std::string_view text) {
  Transcript transcript;
  std::size_t number = 0;
  while (!text.empty()) {
    ++number;
    const auto end = text.find('\n');
    const std::string line(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const auto bad = [&](const std::string& what) {
      return tl::make_unexpected("line " + std::to_string(number) + ": " + what);
    };
    if (transcript.host.empty()) {
      if (!line.starts_with(kHost)) return bad("the first line is 'host NAME'");
      transcript.host = line.substr(kHost.size());
    } else if (line.starts_with("$ ")) {
      transcript.entries.push_back({Entry::Kind::kCommand, line.substr(2), {}, 0});
    } else if (line.starts_with("% ")) {
      transcript.entries.push_back({Entry::Kind::kCommandOnce, line.substr(2), {}, 0});
    } else if (line.starts_with("! ")) {
      transcript.entries.push_back({Entry::Kind::kControl, line.substr(2), {}, 0});
    } else if (line == kRemember) {
      transcript.entries.push_back({Entry::Kind::kRemember, line, {}, 0});
    } else if (line == kSame) {
      transcript.entries.push_back({Entry::Kind::kSame, line, {}, 0});
    } else if (line.starts_with("#") || line.empty()) {
      transcript.entries.push_back({Entry::Kind::kComment, line, {}, 0});
    } else if (!line.starts_with(kIndent)) {
      return bad("it starts with none of '$ ', '% ', '! ', '= remember', '= same', '#' and two spaces");
    } else if (transcript.entries.empty() || !is_command(transcript.entries.back())) {
      return bad("output without a command");
    } else if (!parse_status(line.substr(kIndent.size()), transcript.entries.back().status)) {
      transcript.entries.back().output += line.substr(kIndent.size()) + "\n";
    }
  }
  if (transcript.host.empty()) return tl::make_unexpected(std::string("it is empty"));
  return transcript;
}

std::string to_text(const Transcript& transcript) {
  std::string text = std::string(kHost) + transcript.host + "\n";
  for (const auto& entry : transcript.entries) {
    switch (entry.kind) {
      case Entry::Kind::kRemember:
      case Entry::Kind::kSame:
      case Entry::Kind::kComment: text += entry.text + "\n"; break;
      case Entry::Kind::kControl: text += "! " + entry.text + "\n"; break;
      case Entry::Kind::kCommand:
      case Entry::Kind::kCommandOnce:
        text += (entry.kind == Entry::Kind::kCommand ? "$ " : "% ") + entry.text + "\n" + indented(entry.output);
        if (entry.status != 0) text += std::string(kIndent) + "[" + std::to_string(entry.status) + "]\n";
        break;
    }
  }
  return text;
}

}  // namespace slicebroker::scenarios
