// Kernels with deliberate faults: what the fixture must be able to see.

struct FaultParams {
  float* out;  // [blockDim.x]
  int fault;   // 0: none, 1: no barrier, 2: half of the threads skip the barrier, 3: two barriers, 4: write too far
};

// Every thread leaves its number in shared memory and takes its neighbour's.
extern "C" __global__ void fault(const __grid_constant__ FaultParams params) {
  float* shared = reinterpret_cast<float*>(dynamic_shared());
  const unsigned int thread = threadIdx.x;
  shared[params.fault == 4 ? thread + 1 : thread] = static_cast<float>(thread);
  if (params.fault == 0 || params.fault == 4 || (params.fault == 2 && thread % 2 == 0)) {
    __syncthreads();
  }
  if (params.fault == 3) {
    if (thread % 2 == 0) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  }
  params.out[thread] = shared[(thread + 1) % blockDim.x];
}
