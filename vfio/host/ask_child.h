// SPDX-License-Identifier: Apache-2.0
// Work that the kernel or NVIDIA's driver may never let return from, done in a child that is left behind then.
#pragma once

#include <functional>
#include <string>

#include "vfio/base/result.h"
#include "vfio/host/child.h"
#include "vfio/host/host.h"
#include "vfio/host/watch.h"
#include "vfio/host/wire.h"

namespace slicebroker::vfio {

enum class Purpose {
  kLook,    // reads only
  kChange,  // its child is to be found as a late writer, see list_late_writers()
};

// Calls `work` in a forked child with a host that announces what it does to `watch`, and gives the bytes that it
// returns. Errors: kNoAnswer DEVICE_SILENT or NVML_SILENT, naming what the child was at, when it did not get on for the
// host's patience (in NVML: its deadline); `stuck` is set when it could not be ended. kFailed where it ended without an
// answer. Unlike that of run_in_child() the work may allocate; it must not need another thread of this process.
Result<std::string> ask_child(const Host& host, const Watch& watch, Purpose purpose,
                              const std::function<std::string(const Host&)>& work);

// The same for a value that can be sent (see wire.h). A host that is watched already is in such a child: there the work
// is done at once.
template <class T>
Result<T> answer_of(const Host& host, const Watch& watch, Purpose purpose,
                    const std::function<Result<T>(const Host&)>& work) {
  if (host.watch != nullptr) return work(host);
  SLICEBROKER_TRY(const auto bytes, ask_child(host, watch, purpose, [&](const Host& watched) {
                    WireWriter writer;
                    const auto result = work(watched);
                    writer(result.has_value());
                    if (!result) {
                      writer(result.error());
                    } else if constexpr (!std::is_void_v<T>) {
                      writer(*result);
                    }
                    return writer.take();
                  }));
  WireReader reader(bytes);
  bool done = false;
  reader(done);
  if (!done) {
    Error error;
    reader(error);
    return fail(std::move(error));
  }
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    T value;
    reader(value);
    return value;
  }
}

// With a watch of its own.
template <class T>
Result<T> answer_of(const Host& host, Purpose purpose, const std::function<Result<T>(const Host&)>& work) {
  if (host.watch != nullptr) return work(host);
  const Watch watch;
  return answer_of<T>(host, watch, purpose, work);
}

// The first failure in it, causes included, of something that did not answer in time, be it a read, a write or NVML;
// nullptr where there is none.
const Error* find_silence(const Error& error);

}  // namespace slicebroker::vfio
