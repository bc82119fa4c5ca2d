// What the programs' command lines have in common.
#pragma once
#include <optional>
#include <string>

namespace CLI {
class App;
}

namespace endstate {

std::string host_name();  // empty: unknown

// Says on the standard error what is wrong with the command line, in one line. The exit code of that: 2.
int wrong_usage(const CLI::App& app, const std::string& what);

// Of a flag that stands there several times the last one counts, as with kubectl and most programs: who adds flags behind others (up.sh's
// FLEET_ARGS, the chart's extraArgs) overrides them. Flags that take several values keep them all. Of its subcommands too.
void last_one_counts(CLI::App& app);

// Reads the command line; the last one counts. A value: the program is not to go on (--help and --version are 0), and this is its exit
// code.
std::optional<int> parse(CLI::App& app, int argc, const char* const* argv);

}  // namespace endstate
