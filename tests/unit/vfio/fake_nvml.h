// SPDX-License-Identifier: Apache-2.0
// fake_nvml.c as a fixture: back to its beginning now, without leftovers in the environment at the end.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>
#include <string>

namespace slicebroker::test {

class FakeNvml {
 public:
  FakeNvml() : handle_(::dlopen(path().c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) throw std::runtime_error(::dlerror());
    reset();
  }
  ~FakeNvml() {
    for (const auto& variable : variables_) ::unsetenv(variable.c_str());
    EXPECT_EQ(reinterpret_cast<int (*)()>(::dlsym(handle_, "fake_nvml_users"))(), 0) << "NVML is still open";
  }
  FakeNvml(const FakeNvml&) = delete;
  FakeNvml& operator=(const FakeNvml&) = delete;

  static std::string path() { return BUILD_DIR "/tests/fake_nvml.so"; }

  void reset() { reinterpret_cast<void (*)()>(::dlsym(handle_, "fake_nvml_reset"))(); }

  // FAKE_NVML_* as fake_nvml.c documents them.
  void set(const std::string& variable, const std::string& value) {
    variables_.insert(variable);
    ::setenv(variable.c_str(), value.c_str(), 1);
  }
  void unset(const std::string& variable) { ::unsetenv(variable.c_str()); }

 private:
  void* handle_;
  std::set<std::string> variables_;
};

}  // namespace slicebroker::test
