#include "backend/cuda/pack.h"
