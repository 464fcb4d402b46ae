# The two commands of the README: `make chat` and `make test`. Everything else is CMake underneath.

BUILD ?= build
JOBS  ?= $(shell nproc 2>/dev/null || echo 2)
ARGS  ?=
WERROR ?= OFF

# Of the CUDA backend's machine code: what this machine's GPU runs; without a GPU two that show that it compiles.
# (cmake by itself takes the whole list of cmake/Qwen35Cuda.cmake.)
GPU := $(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | grep -E '^[0-9]+\.[0-9]+$$' | head -n 1 | tr -d .)
CUDA_ARCHITECTURES ?= $(if $(GPU),$(subst 90-real,90a-real,$(GPU)-real),80-real;90a-real)

.PHONY: help chat voice build test arm arm-all bench sanitize tsan format tidy install clean

help:
	@echo "make chat       install what is missing, build, talk to the bundled model (ARGS='--model DIR …')"
	@echo "make build      the executable: $(BUILD)/qwen35"
	@echo "make voice      answer the spoken questions of a file: ARGS='--in question.wav --out answer.wav --text'"
	@echo "make test       build and run all tests"
	@echo "make arm        cross-compile the library for 64-bit ARM, run tests under qemu-user; arm-all: everything"
	@echo "make bench      single kernels beside this machine's ceilings (Google Benchmark; ARGS='--benchmark_filter=product')"
	@echo "make sanitize   the tests under AddressSanitizer and UBSan with clang, and 60 s of fuzzing"
	@echo "make tsan       the threaded tests under ThreadSanitizer"
	@echo "make format     clang-format every source file;  make tidy: clang-tidy on them"
	@echo "make install    cmake --install (PREFIX=/usr/local)"

# The last --model counts, so ARGS may name another.
# What is typed or piped belongs to the chat; what the build prints does not belong to its output.
chat:
	@$(MAKE) --no-print-directory build </dev/null >&2
	@./$(BUILD)/qwen35 chat --model mini $(ARGS)

voice:
	@tools/install-deps.sh build voice
	@$(MAKE) --no-print-directory build </dev/null >&2
	@./$(BUILD)/qwen35 voice --model mini $(ARGS)

build:
	@tools/install-deps.sh build
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release -DQWEN35_BUILD_TESTS=OFF "-DQWEN35_CUDA_ARCHITECTURES=$(CUDA_ARCHITECTURES)" >/dev/null
	@cmake --build $(BUILD) --parallel $(JOBS)

# Without node or the npm registry the tests with the official client and the browser say that they are skipped.
test:
	@tools/install-deps.sh build test web voice
	@[ -d tests/web/node_modules ] || ! command -v npm >/dev/null || npm ci --prefix tests/web --no-audit --no-fund || true
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release -DQWEN35_BUILD_TESTS=ON -DQWEN35_BUILD_EXAMPLES=ON -DQWEN35_WERROR=$(WERROR) "-DQWEN35_CUDA_ARCHITECTURES=$(CUDA_ARCHITECTURES)"
	@cmake --build $(BUILD) --parallel $(JOBS)
	@ctest --test-dir $(BUILD) --output-on-failure --parallel $(JOBS)

# The whole library and the tests of what depends on the processor, up to conversations with the bundled model;
# arm-all adds the command and the other rooms' tests, which compile for as long again.
ARM_TARGETS := qwen35 base_test backend_test chat_test
# Minutes each under emulation; they depend on the processor no more than the others do.
ARM_SLOW := _NOT_BUILT|Property|Soak|Concurrent|FarIn|AnyOrderOfForks
arm arm-all:
	@tools/install-deps.sh build arm
	@tools/arm-sysroot.sh build-arm/sysroot
	@cmake --preset aarch64 -DQWEN35_BUILD_CLI=$(if $(filter arm-all,$@),ON,OFF)
	@cmake --build --preset aarch64 --parallel $(JOBS) --target $(if $(filter arm-all,$@),all,$(ARM_TARGETS))
	@ctest --preset aarch64 --exclude-regex "$(ARM_SLOW)" --parallel $(JOBS)

bench:
	@tools/install-deps.sh build bench
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release -DQWEN35_BUILD_BENCHMARKS=ON "-DQWEN35_CUDA_ARCHITECTURES=$(CUDA_ARCHITECTURES)" >/dev/null
	@cmake --build $(BUILD) --parallel $(JOBS) --target qwen35 qwen35_kernels_bench
	@$(BUILD)/bench/kernels $(ARGS)

sanitize:
	@tools/install-deps.sh build test voice clang
	@cmake --preset asan
	@cmake --build --preset asan --parallel $(JOBS)
	@ctest --preset asan --parallel $(JOBS)

tsan:
	@tools/install-deps.sh build test clang
	@cmake --preset tsan
	@cmake --build --preset tsan --parallel $(JOBS) --target backend_test chat_test voice_test speech_core_test server_test
	@ctest --preset tsan

format:
	@git ls-files '*.cpp' '*.h' '*.inl' | xargs clang-format -i

tidy:
	@cmake -S . -B $(BUILD) -G Ninja >/dev/null
	@git ls-files 'src/*.cpp' | grep -v kernels/avx | xargs -P $(JOBS) -n 4 clang-tidy -p $(BUILD) --quiet

PREFIX ?= /usr/local
install:
	@tools/install-deps.sh build
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$(PREFIX) >/dev/null
	@cmake --build $(BUILD) --parallel $(JOBS)
	@cmake --install $(BUILD)

clean:
	@rm -rf $(BUILD) build-arm build-asan build-tsan build-debug
