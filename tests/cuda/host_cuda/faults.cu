// Kernels with deliberate faults: what the fixture must be able to see.

struct FaultParams {
  float* out;   // [blockDim.x]
  int* number;  // 0, in global memory
  int fault;    // which of the faults below
};

// Every thread leaves its number in shared memory and takes its neighbour's. Faults: 0: none, 1: no barrier, 2: half of
// the threads skip the barrier, 3: two barriers, 4: write too far.
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

// Teams of 4 lanes sum their numbers 1, 10, 100, 1000 times 1, 2, 3, 4, and each lane takes one sum. Faults: 0: none,
// 1: half of a warp skips the shuffles, 2: half of it goes to a barrier instead.
extern "C" __global__ void fault_in_shuffle(const __grid_constant__ FaultParams params) {
  const int lane = threadIdx.x % 4;
  float sum = 0;
  if (params.fault == 2 && threadIdx.x % 32 >= 16) {
    __syncthreads();
  } else if (params.fault != 1 || threadIdx.x % 32 < 16) {
    const float number = lane == 0 ? 1.f : lane == 1 ? 10.f : lane == 2 ? 100.f : 1000.f;
    float partial[4] = {number, 2 * number, 3 * number, 4 * number};
    sum = sum_over_lanes<4, 4>(partial, lane);
  }
  params.out[threadIdx.x] = sum;
}

// Copies its number from global memory. Faults: 0: none, 1: it does not wait, 2: it reads too early.
extern "C" __global__ void fault_in_copy(const __grid_constant__ FaultParams params) {
  float* shared = reinterpret_cast<float*>(dynamic_shared());
  params.out[threadIdx.x] = static_cast<float>(threadIdx.x);
  copy_async(shared + threadIdx.x, params.out + threadIdx.x);
  if (params.fault == 0) {
    wait_for_copies();
  }
  params.out[threadIdx.x] = shared[threadIdx.x] + 1;
  if (params.fault == 2) {
    wait_for_copies();
  }
}

// Block b waits until blocks 0 .. b-1 have added one to a number, then adds one and stores it. Faults: 0: none, 1: it
// waits for more than there will be.
extern "C" __global__ void fault_in_wait(const __grid_constant__ FaultParams params) {
  const int block = static_cast<int>(blockIdx.x);
  if (threadIdx.x == 0) {
    while (*static_cast<volatile int*>(params.number) < block + (params.fault == 1 ? 1 : 0)) {
      __nanosleep(100);
    }
    params.out[block] = static_cast<float>(atomicAdd(params.number, 1));
  }
  __syncthreads();
}
