// The steps of a setup by their numbers: what they are called, the layer they make, and the call that does it.
#pragma once
#include "plan.h"

namespace clove {

struct StepRow {
  const char* name;
  int layer;
  const char* call;
};
// What STEP makes of a step without a layer.
inline constexpr int L_NONE_ = L_NONE;
inline constexpr StepRow kSteps[] = {
#define NONE NONE_
#define STEP(name, layer, call) {#name, L_##layer, call},
#include "steps.def"
#undef STEP
#undef NONE
};

}  // namespace clove
