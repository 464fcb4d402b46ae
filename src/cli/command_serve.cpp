#include <fcntl.h>
#include <poll.h>
#include <qwen35/chat.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <future>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/file_writer.h"
#include "checkpoint/info.h"
#include "cli/cli.h"
#include "cli/model_download.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/text_io.h"
#include "server/readiness.h"
#include "server/server.h"

namespace qwen35::cli {
namespace {

constexpr std::size_t kDefaultContext = 8192;
constexpr std::size_t kMaxKeyFile = 1U << 20U;

struct Options {
  std::string model;
  std::string served_name;
  LoadOptions load;
  server::ServerOptions server;
  std::vector<std::string> keys;
  std::string key_file;
  std::string port_file;
  bool json = false;
  bool quiet = false;
};

// Set before the handlers are; a signal handler may only touch lock-free atomics.
std::atomic<int> signal_pipe{-1};
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void on_stop_signal(int /*signal*/) {
  const int saved_errno = errno;
  [[maybe_unused]] const ssize_t written = write(signal_pipe.load(), "", 1);
  errno = saved_errno;
}

/// SIGINT and SIGTERM as something to wait for. By handlers and not by blocking them for a signalfd: libraries start
/// threads before main does anything (OpenBLAS, under the speech recogniser), and the signal would end the program on
/// one of those.
class Signals {
 public:
  Signals() {
    if (pipe2(pipe_.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
      throw std::system_error(errno, std::generic_category(), "cannot make a pipe");
    }
    signal_pipe = pipe_[1];
    struct sigaction action = {};
    action.sa_handler = on_stop_signal;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
  }
  // The handlers stay, and with them the pipe: the program ends soon after.
  ~Signals() = default;
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  [[nodiscard]] int fd() const { return pipe_[0]; }
  /// Waits up to `milliseconds` (-1: for ever) and takes one signal; false: none came.
  [[nodiscard]] bool take(int milliseconds) const {
    pollfd polled{pipe_[0], POLLIN, 0};
    if (poll(&polled, 1, milliseconds) <= 0) return false;
    char one = 0;
    return read(pipe_[0], &one, 1) == 1;
  }

 private:
  std::array<int, 2> pipe_{-1, -1};  // read end, write end
};

/// One line at a time, whichever thread writes it.
void log_line(std::string_view line) {
  static std::mutex mutex;
  const std::lock_guard hold(mutex);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

std::string megabytes(std::size_t bytes) { return std::to_string((bytes + (1U << 19U)) >> 20U) + " MiB"; }

bool is_path(const std::string& model) {
  return model.starts_with('/') || model.starts_with('.') || model.starts_with('~') || model.ends_with('/');
}

void add_keys(const Options& options, server::KeyRing& ring) {
  for (const std::string& key : options.keys) ring.add(key);
  if (const char* const key = std::getenv("QWEN35_API_KEY"); key != nullptr && *key != '\0') ring.add(key);
  if (options.key_file.empty()) return;
  std::istringstream lines(read_all(options.key_file, kMaxKeyFile));
  const std::string::size_type none = std::string::npos;
  bool found = false;
  for (std::string line; std::getline(lines, line);) {
    const auto begin = line.find_first_not_of(" \t\r");
    if (begin == none || line[begin] == '#') continue;
    ring.add(std::string_view(line).substr(begin, line.find_last_not_of(" \t\r") - begin + 1));
    found = true;
  }
  if (!found)
    throw Error(ErrorCode::invalid_argument, options.key_file + " holds no key; it has one a line, # begins a remark");
}

/// The model and what it takes, loaded on a thread of its own: a signal meanwhile ends the program.
std::unique_ptr<server::Engine> load(const Options& options, const CheckpointInfo& info) {
  Chat chat = Chat::from_pretrained(options.model, options.load);
  const std::size_t context = chat.info().context;
  server::MemoryPlan memory;
  memory.weights = chat.memory_footprint();
  // A pass writes a new recurrent state beside the old one.
  memory.per_request = 2 * info.state_bytes + context * info.kv_bytes_per_token;
  memory.session = options.load.session_memory;
  return std::make_unique<server::Engine>(std::move(chat), memory);
}

int run_serve(Options& options) {
  const std::filesystem::path folder = find_model(options.model);
  const Signals signals;
  CheckpointInfo checkpoint;
  {
    const ModelWeights weights = load_weights(folder);
    checkpoint = describe(weights);
    if (options.load.context == 0) options.load.context = std::min(weights.config.max_positions, kDefaultContext);
  }
  server::ServiceOptions& service = options.server.service;
  const std::string folder_name = folder.filename().string();
  service.model = !options.served_name.empty() ? options.served_name
                  : is_path(options.model)     ? folder_name
                                               : options.model;
  for (const std::string& name : {folder_name, is_path(options.model) ? folder_name : options.model}) {
    if (name != service.model &&
        std::find(service.aliases.begin(), service.aliases.end(), name) == service.aliases.end())
      service.aliases.push_back(name);
  }
  service.version = QWEN35_VERSION;
  if (!options.quiet) service.log = log_line;
  add_keys(options, service.keys);
  const bool keys = !service.keys.empty();

  server::Server server(options.server);
  log_line("loading " + service.model + "; " + server.url() + " answers 503 until then\n");
  if (!server.loopback() && !keys)
    log_line("WARNING: everyone who reaches " + server.url() + " can use this server: there is no API key\n");

  std::future<std::unique_ptr<server::Engine>> loading =
      std::async(std::launch::async, [&options, &checkpoint] { return load(options, checkpoint); });
  {
    const Notice notice("loading the model ...");
    while (loading.wait_for(std::chrono::milliseconds(0)) != std::future_status::ready) {
      if (signals.take(10)) {
        std::fflush(stderr);
        _exit(0);  // nothing is half done, and loading cannot be interrupted
      }
    }
  }
  std::unique_ptr<server::Engine> engine = loading.get();
  const server::MemoryPlan memory = engine->memory();
  const ModelInfo model = engine->info();
  server.serve(std::move(engine));

  const std::size_t most = memory.weights + memory.session + service.parallel * memory.per_request;
  log_line("memory: weights " + megabytes(memory.weights) + ", sessions up to " + megabytes(memory.session) +
           ", each of " + std::to_string(service.parallel) + " running requests up to " +
           megabytes(memory.per_request) + " (context " + std::to_string(model.context) + "): at most " +
           megabytes(most) + "\n");
  if (!options.port_file.empty()) {
    FileWriter file(options.port_file);
    const std::string port = std::to_string(server.port()) + "\n";
    file.write(std::as_bytes(std::span(port)));
    file.commit();
  }
  log_line("listening on " + server.url() + "\n");
  if (options.json) {
    const nlohmann::ordered_json line = {{"url", server.url()}, {"port", server.port()}, {"model", service.model}};
    write_output(line.dump() + "\n");
    std::fflush(stdout);
  }
  server::notify_manager("READY=1");

  while (!signals.take(-1)) {
  }
  server::notify_manager("STOPPING=1");
  log_line("stopping: running requests may end within " +
           std::to_string(std::chrono::duration_cast<std::chrono::seconds>(options.server.drain_timeout).count()) +
           " s; a second signal ends them now\n");
  const std::size_t cancelled = server.drain(signals.fd());
  log_line(cancelled == 0 ? "stopped\n" : "stopped; " + std::to_string(cancelled) + " generations were cut short\n");
  return 0;
}

/// Options that are a time in seconds.
void add_seconds(CLI::App& command, const char* name, server::Milliseconds& value, const char* help, double least,
                 const char* group) {
  command
      .add_option_function<double>(
          name, [&value](double seconds) { value = server::Milliseconds(static_cast<std::int64_t>(seconds * 1000)); },
          help)
      ->check(in_range(least, 86400))
      ->type_name("S")
      ->default_str(std::to_string(value.count() / 1000))
      ->group(group);
}

template <typename T>
void add_count(CLI::App& command, const char* name, T& value, const char* help, double least, double most,
               const char* group) {
  command.add_option(name, value, help)
      ->check(in_range(least, most))
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
}

void add_list(CLI::App& command, const char* name, std::vector<std::string>& list, const char* type, const char* help,
              const char* group) {
  command.add_option(name, list, help)
      ->type_name(type)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group(group);
}

void add_network_options(CLI::App& command, Options& options) {
  server::ServerOptions& server = options.server;
  constexpr const char* kGroup = "Network";
  command.add_option("--host", server.host, "address to listen on; 0.0.0.0 lets other machines in")
      ->type_name("ADDRESS")
      ->capture_default_str()
      ->group(kGroup);
  add_count(command, "--port", server.port, "port to listen on; 0: any free one", 0, 65535, kGroup);
  command.add_option("--port-file", options.port_file, "write the port there once requests are taken")
      ->type_name("FILE")
      ->group(kGroup);
  command.add_flag("--json", options.json, "then also print a line of JSON (url, port, model) on standard output")
      ->group(kGroup);
  add_count(command, "--max-connections", server.http.max_connections, "beyond them clients are told 503", 1, 65536,
            kGroup);
  add_seconds(command, "--header-timeout", server.http.head_timeout, "for a request's headers", 0.01, kGroup);
  add_seconds(command, "--body-timeout", server.http.body_timeout, "for a request's body", 0.01, kGroup);
  add_seconds(command, "--idle-timeout", server.http.idle_timeout, "for a connection's next request", 0.01, kGroup);
  add_seconds(command, "--write-timeout", server.http.write_timeout, "for a client to take something of its answer",
              0.01, kGroup);
  add_seconds(command, "--drain-delay", server.drain_delay,
              "between saying on /health that it stops and taking no more requests", 0, kGroup);
  add_seconds(command, "--drain-timeout", server.drain_timeout, "for running requests when it stops", 0, kGroup);
}

void add_access_options(CLI::App& command, Options& options) {
  server::ServiceOptions& service = options.server.service;
  constexpr const char* kGroup = "Access";
  add_list(command, "--api-key", options.keys, "KEY",
           "clients must show this key; may be repeated (other users see it in the process list: prefer the next, or "
           "QWEN35_API_KEY)",
           kGroup);
  command.add_option("--api-key-file", options.key_file, "keys, one a line")->type_name("FILE")->group(kGroup);
  command
      .add_flag("--no-auth-on-network", options.server.no_auth_on_network,
                "answer other machines without a key (refused otherwise)")
      ->group(kGroup);
  add_list(command, "--allowed-host", service.allowed_hosts, "NAME",
           "host name that requests may be for; may be repeated", kGroup);
  command
      .add_option("--cors-origin", service.cors_origin,
                  "site whose pages may use this server, e.g. https://app.example")
      ->type_name("ORIGIN")
      ->group(kGroup);
  command.add_flag("--log-prompts", service.log_prompts, "write what clients send to the log")->group(kGroup);
  command.add_flag("--quiet", options.quiet, "no line for each request on standard error")->group(kGroup);
}

void add_request_options(CLI::App& command, Options& options) {
  server::ServerOptions& server = options.server;
  server::ServiceOptions& service = server.service;
  constexpr const char* kGroup = "Requests";
  add_count(command, "--parallel", service.parallel, "generations that run at once", 1, 1024, kGroup);
  add_count(command, "--queue", service.queue, "requests that wait for a place; beyond them 429", 0, 65536, kGroup);
  add_seconds(command, "--timeout", service.timeout, "for a whole request; a client may ask for less", 0.001, kGroup);
  add_count(command, "--max-tokens", service.defaults.max_tokens, "of an answer that states no limit", 1, 1e9, kGroup);
  add_count(command, "--max-tokens-limit", service.limits.max_tokens, "that an answer may ask for", 1, 1e9, kGroup);
  add_count(command, "--max-prompt-tokens", service.max_prompt_tokens, "0: as many as the context holds", 0, 1e9,
            kGroup);
  add_count(command, "--max-messages", service.limits.messages, "of one request", 1, 1e6, kGroup);
  add_count(command, "--max-choices", service.limits.n, "of one request (n)", 1, 128, kGroup);
  add_count(command, "--max-body", server.http.max_body_bytes, "bytes of a request's body", 1024, 1U << 30U, kGroup);
  add_count(command, "--max-headers", server.http.max_head_bytes, "bytes of a request's headers", 256, 1U << 20U,
            kGroup);
  command
      .add_flag_callback(
          "--no-thinking", [&service] { service.defaults.enable_thinking = false; },
          "answer without thinking where a request does not ask for it")
      ->group(kGroup);
  add_count(command, "--max-thinking-tokens", service.defaults.max_thinking_tokens,
            "thinking is cut there where a request does not say", 0, 1e9, kGroup);
}

}  // namespace

void add_serve_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("serve", "Answer the OpenAI API over HTTP, with a page to talk to");
  const auto options = std::make_shared<Options>();
  options->server.service.defaults.max_tokens = 1024;
  add_model_option(*command, options->model, "mini");
  command->add_option("--served-name", options->served_name, "what clients call the model; else its own name")
      ->type_name("NAME");
  add_list(*command, "--alias", options->server.service.aliases, "NAME", "further name that clients may use",
           "OPTIONS");
  add_network_options(*command, *options);
  add_access_options(*command, *options);
  add_request_options(*command, *options);
  constexpr const char* kCompute = "Compute";
  add_count(*command, "--context", options->load.context,
            "most tokens of one conversation; 0: the model's own limit, at most 8192", 0, 1e9, kCompute);
  command
      ->add_option_function<std::size_t>(
          "--session-memory", [options](std::size_t megabytes) { options->load.session_memory = megabytes << 20; },
          "MiB for the states and snapshots of all conversations")
      ->check(in_range(0, 1 << 24))
      ->type_name("MB")
      ->default_str(std::to_string(options->load.session_memory >> 20))
      ->group(kCompute);
  add_compute_options(*command, options->load);
  command->footer(
      "SIGTERM or Ctrl-C: no new requests, running ones may end; a second one ends them.\n\n"
      "Examples:\n"
      "  qwen35 serve\n"
      "  qwen35 serve --model ./Qwen3.5-0.8B-4bit --port 8000 --parallel 4\n"
      "  qwen35 serve --host 0.0.0.0 --api-key-file /etc/qwen35/keys\n"
      "  curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \\\n"
      "    -d '{\"messages\": [{\"role\": \"user\", \"content\": \"What is gravity?\"}]}'");
  command->callback([options, &run] { run = [options] { return run_serve(*options); }; });
}

}  // namespace qwen35::cli
