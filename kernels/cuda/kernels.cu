// Every kernel, as one translation unit.
#include "generated.cuh"
#include "measure.cuh"
#include "msm.cuh"
#include "ntt.cuh"
#include "partition.cuh"
#include "rows.cuh"
#include "vector.cuh"
