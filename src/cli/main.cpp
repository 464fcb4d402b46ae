#include <qwen35/error.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>
#include <new>

#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/text_io.h"

namespace {

constexpr int kFailure = 1;
constexpr int kUsageError = 2;

int run(int argc, char** argv) {
  using namespace qwen35::cli;
  Runner runner;
  CLI::App app("Qwen3.5 chat on the device", "qwen35");
  app.set_version_flag("--version", "qwen35 " QWEN35_VERSION);
  app.require_subcommand(0, 1);
  // An alias may hold options of its own: what is given again later counts.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.get_formatter()->column_width(34);
  add_chat_command(app, runner);
  add_generate_command(app, runner);
  add_serve_command(app, runner);
  add_voice_command(app, runner);
  add_tokenize_command(app, runner);
  add_render_command(app, runner);
  add_eval_command(app, runner);
  add_perplexity_command(app, runner);
  add_bench_command(app, runner);
  add_info_command(app, runner);
  add_pull_command(app, runner);
  add_list_command(app, runner);
  add_remove_command(app, runner);
  add_convert_command(app, runner);
  add_synth_command(app, runner);
  app.footer(
      "\"qwen35 COMMAND --help\" tells more about a command. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped "
      "by\n"
      "Ctrl-C.\n\nExample:\n  qwen35 chat");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {  // --help, --version
    app.exit(help, std::cout, std::cerr);
    check_output();
    return 0;
  } catch (const CLI::ParseError& error) {
    const auto commands = app.get_subcommands();
    const std::string command = commands.empty() ? "" : " " + commands.front()->get_name();
    std::cerr << "error: " << error.what() << "\nTry: qwen35" << command << " --help\n";
    return kUsageError;
  }
  if (!runner) {
    write_output(app.help());
    return 0;
  }
  const int code = runner();
  check_output();
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);  // a reader that has gone shows as a failed write, which is reported
  try {
    qwen35::cli::install_interrupt_handler();
    return run(argc, argv);
  } catch (const qwen35::Error& error) {
    if (error.code() == qwen35::ErrorCode::cancelled) {  // by Ctrl-C: nobody else can
      std::cerr << error.what() << '\n';
      return qwen35::cli::kInterruptedExitCode;
    }
    std::cerr << "error: " << error.what() << '\n';
  } catch (const std::bad_alloc&) {
    std::cerr << "error: out of memory\n";
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
  }
  return kFailure;
}
