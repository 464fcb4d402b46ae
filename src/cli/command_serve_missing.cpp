// Stands in for command_serve.cpp in a build without the server room.
#include <qwen35/error.h>

#include "cli/cli.h"

namespace qwen35::cli {

void add_serve_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("serve", "Answer the OpenAI API over HTTP (not in this build)");
  command->allow_extras();
  command->footer(
      "This build has no server: on Debian run tools/install-deps.sh build and build again with "
      "-DQWEN35_WITH_SERVER=ON.\n\n"
      "Example:\n"
      "  qwen35 serve --model mini");
  command->callback([&run] {
    run = []() -> int {
      throw Error(ErrorCode::unsupported,
                  "this build has no server: cpp-httplib or OpenSSL were not there; on Debian run "
                  "tools/install-deps.sh build and build again with -DQWEN35_WITH_SERVER=ON");
    };
  });
}

}  // namespace qwen35::cli
