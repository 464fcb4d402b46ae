// Stands in for command_voice.cpp in a build without the audio room.
#include <qwen35/error.h>

#include "cli/cli.h"

namespace qwen35::cli {

void add_voice_command(CLI::App& app, Runner& run) {
  CLI::App* const command = app.add_subcommand("voice", "Answer spoken questions aloud (not in this build)");
  command->allow_extras();
  command->footer(
      "This build has no sound: on Debian run tools/install-deps.sh voice and build again with "
      "-DQWEN35_WITH_VOICE=ON.\n\n"
      "Example:\n"
      "  qwen35 voice --in question.wav --out answer.wav");
  command->callback([&run] {
    run = []() -> int {
      throw Error(ErrorCode::unsupported,
                  "this build has no voice: PocketSphinx, eSpeak NG or ALSA were not there; on Debian run "
                  "tools/install-deps.sh voice and build again with -DQWEN35_WITH_VOICE=ON");
    };
  });
}

}  // namespace qwen35::cli
