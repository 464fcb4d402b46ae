// Load on a server of the OpenAI API: clients that wait for each reply, or requests that come at a rate of their own.
// Every reply is streamed and read to its end; one that does not end with a finish reason counts as an error.
#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>

#include "load_report.h"
#include "load_run.h"

namespace {

using namespace qwen35::load;
using Json = nlohmann::json;

constexpr std::size_t kMostAtOnce = 256;  ///< requests that come at a rate, if nothing else is said

struct Options {
  RequestShape request;
  ConversationShape conversation;
  LoadPlan plan;
  std::vector<std::size_t> clients = {1, 4, 16, 64};
  int max_tokens = 32;
  bool thinking = false;
  bool whole_length = false;
  bool soak = false;
  bool json = false;
};

/// The ids of the tokens that end a reply, so that they can be barred.
Json ending_tokens(const RequestShape& request) {
  httplib::Client client(request.url);
  if (!request.api_key.empty()) client.set_bearer_token_auth(request.api_key);
  const Json body = {{"prompt", "<|im_end|><|endoftext|>"}, {"special", true}};
  const httplib::Result result = client.Post("/tokenize", body.dump(), "application/json");
  if (!result || result->status != 200)
    throw std::runtime_error(request.url + "/tokenize does not answer; leave --whole-length out");
  const Json answer = Json::parse(result->body);  // named: a loop does not keep what it is made from
  Json biases = Json::object();
  for (const Json& id : answer.at("tokens")) biases[std::to_string(id.get<int>())] = -100;
  return biases;
}

void add_options(CLI::App& app, Options& o) {
  app.add_option("--url", o.request.url, "server")->capture_default_str();
  app.add_option("--api-key", o.request.api_key, "sent as a bearer token");
  app.add_option("--clients", o.clients, "how many at once, one measurement each; with --rate: at most this many")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  app.add_option("--rate", o.plan.rate, "requests a second that come whatever the server does")
      ->check(CLI::Range(0.001, 1e5));
  app.add_option("--duration", o.plan.seconds, "seconds of a measurement")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 1e6));
  app.add_option("--warm-up", o.plan.warm_seconds, "seconds before it that do not count")->check(CLI::Range(0.0, 1e5));
  app.add_option("--turns", o.conversation.turns, "most of a conversation")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("--sentences", o.conversation.sentences, "most of a question")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("--system", o.conversation.system, "system prompt of every conversation");
  app.add_option("--max-tokens", o.max_tokens, "of a reply")->capture_default_str()->check(CLI::Range(1, 1000000));
  app.add_flag("--whole-length", o.whole_length, "every reply has --max-tokens tokens: its end is barred");
  app.add_flag("--thinking", o.thinking, "let the model think first");
  app.add_option("--seed", o.plan.seed, "of arrivals and questions")->capture_default_str();
  app.add_option("--retries", o.request.retries,
                 "of a request after 429 or 503, when the server says; 0: count them as errors")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000));
  app.add_option("--timeout", o.request.timeout_seconds, "seconds without a byte before a request has failed")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 1e5));
  app.add_option("--pid", o.plan.pid, "of the server: sample its memory");
  app.add_flag("--soak", o.soak, "also print the four quarters of each measurement");
  app.add_flag("--json", o.json, "a line of JSON for each measurement");
}

int run(Options& o) {
  o.request.fields = {{"max_tokens", o.max_tokens}, {"enable_thinking", o.thinking}};
  if (o.whole_length) {
    o.request.fields["logit_bias"] = ending_tokens(o.request);
    o.request.fields["loop_guard"] = false;
  }
  if (o.plan.rate > 0 && o.clients.size() > 1) o.clients = {kMostAtOnce};
  if (!o.json) print_head(std::cout);
  bool failed = false;
  for (const std::size_t clients : o.clients) {
    o.plan.clients = clients;
    const LoadResult result = run_load(o.plan, o.request, o.conversation);
    Json json = summary(result);
    failed = failed || !json["errors"].empty() || json["requests"] == 0;
    const Json parts = o.soak ? quarters(result) : Json();
    if (o.json) {
      if (o.soak) json["quarters"] = parts;
      std::cout << json.dump() << std::endl;
      continue;
    }
    print_row(std::cout, json);
    if (o.soak) print_quarters(std::cout, parts);
  }
  return failed ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a server that goes away is a result, not our end
  CLI::App app("Load on a server of the OpenAI API; exit status 1: some request did not come to a good end");
  Options options;
  add_options(app, options);
  CLI11_PARSE(app, argc, argv);
  try {
    return run(options);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 2;
  }
}
