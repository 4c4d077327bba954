// SPDX-License-Identifier: Apache-2.0
#include "vfio/step.h"

#include <optional>

#include "vfio/host/ask_child.h"

namespace slicebroker::vfio {
namespace {

Error malformed(std::string_view key, std::string fact) {
  Error error;
  error.reason = "MALFORMED_RECORD";
  error.tried = "read the recorded step's '" + std::string(key) + "'";
  error.fact = std::move(fact);
  return error;
}

template <class T>
Result<T> parsed_field(const Fields& fields, std::string_view key, std::optional<T> (*parse)(std::string_view)) {
  SLICEBROKER_TRY(const auto text, text_field(fields, key));
  const auto value = parse(text);
  if (!value) return fail(malformed(key, "its value is '" + text + "'"));
  return *value;
}

template <class Variant, std::size_t... Index>
Result<Step> step_of_kind(std::string_view wanted, const Fields& fields, std::index_sequence<Index...>) {
  std::optional<Result<Step>> found;
  const auto try_kind = [&]<class S>(std::type_identity<S>) {
    static_assert(IsStep<S>);
    if (S::kKind != wanted) return;
    auto step = S::from_fields(fields);
    found = step ? Result<Step>(Step(*std::move(step))) : Result<Step>(fail(std::move(step).error()));
  };
  (try_kind(std::type_identity<std::variant_alternative_t<Index, Variant>>{}), ...);
  if (found) return *std::move(found);
  return fail(malformed("kind", "this version knows no step '" + std::string(wanted) + "'"));
}

}  // namespace

template <class Archive>
void list_members(Archive& archive, Any<Observation> auto& value) {
  archive(value.before, value.already_so);
}

Result<std::string> text_field(const Fields& fields, std::string_view key) {
  const auto at = fields.find(key);
  if (at == fields.end()) return fail(malformed(key, "it is missing"));
  return at->second;
}

Result<PciAddress> address_field(const Fields& fields, std::string_view key) {
  return parsed_field<PciAddress>(fields, key, PciAddress::parse);
}

Result<Uuid> uuid_field(const Fields& fields, std::string_view key) {
  return parsed_field<Uuid>(fields, key, Uuid::parse);
}

Result<std::uint32_t> number_field(const Fields& fields, std::string_view key) {
  return parsed_field<std::uint32_t>(
      fields, key, +[](std::string_view text) { return parse_number<std::uint32_t>(text); });
}

Result<std::optional<std::uint32_t>> find_number_field(const Fields& fields, std::string_view key) {
  if (!fields.contains(key)) return std::optional<std::uint32_t>();
  SLICEBROKER_TRY(const auto value, number_field(fields, key));
  return std::optional(value);
}

std::string_view kind(const Step& step) {
  return std::visit([](const auto& s) -> std::string_view { return s.kKind; }, step);
}
Fields fields(const Step& step) {
  return std::visit([](const auto& s) { return s.fields(); }, step);
}
std::string describe(const Step& step) {
  return std::visit([](const auto& s) { return s.describe(); }, step);
}
Result<Observation> observe(const Step& step, const Host& host) {
  return answer_of<Observation>(host, Purpose::kLook, [&](const Host& watched) {
    return std::visit([&](const auto& s) { return s.observe(watched); }, step);
  });
}
Result<void> apply(const Step& step, const Host& host) {
  return answer_of<void>(host, Purpose::kChange, [&](const Host& watched) {
    return std::visit([&](const auto& s) { return s.apply(watched); }, step);
  });
}
Result<void> undo(const Step& step, const Host& host, const Fields& before) {
  return answer_of<void>(host, Purpose::kChange, [&](const Host& watched) {
    return std::visit([&](const auto& s) { return s.undo(watched, before); }, step);
  });
}

Result<Step> step_from(std::string_view kind, const Fields& fields) {
  return step_of_kind<Step>(kind, fields, std::make_index_sequence<std::variant_size_v<Step>>{});
}

}  // namespace slicebroker::vfio
