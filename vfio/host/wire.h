// SPDX-License-Identifier: Apache-2.0
// Values as bytes and back, between a process and its own child: no format that outlives either. A type takes part by a
// function list_members(archive, value) in its namespace, which hands every member to the archive.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "vfio/base/error.h"
#include "vfio/base/pci_address.h"
#include "vfio/base/result.h"
#include "vfio/base/uuid.h"

namespace slicebroker::vfio {

// `auto& value` of exactly this type, const where it is written and not where it is read.
template <class Value, class Type>
concept Any = std::same_as<std::remove_const_t<Value>, Type>;

template <class T>
concept Plain = std::is_arithmetic_v<T> || std::is_enum_v<T> || std::same_as<T, PciAddress> || std::same_as<T, Uuid> ||
    std::same_as<T, std::variant<PciAddress, Uuid>>;
static_assert(std::is_trivially_copyable_v<std::variant<PciAddress, Uuid>>);

class WireWriter {
 public:
  template <class... T>
  void operator()(const T&... values) {
    (put(values), ...);
  }
  std::string take() { return std::move(bytes_); }

 private:
  template <Plain T>
  void put(const T& value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void put(const std::string& text) {
    put(text.size());
    bytes_ += text;
  }
  template <class T>
  void put(const std::optional<T>& value) {
    put(value.has_value());
    if (value) put(*value);
  }
  template <class T>
  void put(const std::vector<T>& values) {
    put(values.size());
    for (const auto& value : values) put(value);
  }
  template <class K, class V, class C>
  void put(const std::map<K, V, C>& values) {
    put(values.size());
    for (const auto& [key, value] : values) (*this)(key, value);
  }
  template <class T>
  requires std::is_class_v<T> &&(!Plain<T>)void put(const T& value) { list_members(*this, value); }

  std::string bytes_;
};

// What is cut short reads as empty values, and ok() tells.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : bytes_(bytes) {}

  template <class... T>
  void operator()(T&... values) {
    (get(values), ...);
  }
  bool ok() const { return ok_ && bytes_.empty(); }

 private:
  template <Plain T>
  void get(T& value) {
    if (bytes_.size() < sizeof value) {
      ok_ = false;
      bytes_ = {};
      return;
    }
    std::memcpy(static_cast<void*>(&value), bytes_.data(), sizeof value);
    bytes_.remove_prefix(sizeof value);
  }
  // A count of things that take a byte or more each.
  std::size_t count() {
    std::size_t number = 0;
    get(number);
    if (number <= bytes_.size()) return number;
    ok_ = false;
    return 0;
  }
  void get(std::string& text) {
    const auto size = count();
    text = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
  }
  template <class T>
  void get(std::optional<T>& value) {
    bool there = false;
    get(there);
    if (there) get(value.emplace());
  }
  template <class T>
  void get(std::vector<T>& values) {
    values.resize(count());
    for (auto& value : values) get(value);
  }
  template <class K, class V, class C>
  void get(std::map<K, V, C>& values) {
    for (auto left = count(); left > 0; --left) {
      K key;
      get(key);
      get(values[std::move(key)]);
    }
  }
  template <class T>
  requires std::is_class_v<T> &&(!Plain<T>)void get(T& value) { list_members(*this, value); }

  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace slicebroker::vfio

namespace slicebroker {

template <class Archive>
void list_members(Archive& archive, vfio::Any<StuckProcess> auto& process) {
  archive(process.pid, process.start_time);
}

template <class Archive>
void list_members(Archive& archive, vfio::Any<Error> auto& error) {
  archive(error.code, error.reason, error.tried, error.subject, error.fact, error.os_errno, error.hint, error.causes,
          error.host, error.stuck);
}

}  // namespace slicebroker
