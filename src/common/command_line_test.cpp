#include "src/common/command_line.hpp"

#include <CLI/CLI.hpp>
#include <catch2/catch.hpp>
#include <vector>

namespace {

struct Flags {
  std::string address = "default";
  int workers = 1;
  bool quiet = false;
  std::vector<std::string> mirrors;
  std::string of_command, name;
};

std::optional<int> read(Flags& f, std::vector<const char*> words) {
  CLI::App app("A program.", "program");
  app.add_option("--address", f.address);
  app.add_option("--workers", f.workers)->check(CLI::Range(1, 8));
  app.add_flag("--quiet", f.quiet);
  app.add_option("--mirror", f.mirrors);
  auto* command = app.add_subcommand("run", "Runs.");
  command->add_option("--context", f.of_command);
  command->add_option("name", f.name);
  words.insert(words.begin(), "program");
  return endstate::parse(app, static_cast<int>(words.size()), words.data());
}

}  // namespace

TEST_CASE("command line: of a repeated flag the last one counts", "[command_line]") {
  Flags f;
  CHECK_FALSE(read(f, {"--address=0.0.0.0:1", "--workers", "2", "--quiet", "--address", "[::]:2", "--workers=3", "--quiet"}));
  CHECK(f.address == "[::]:2");
  CHECK(f.workers == 3);
  CHECK(f.quiet);
}

TEST_CASE("command line: flags that take several keep them all; a subcommand's flags are like the others", "[command_line]") {
  Flags f;
  CHECK_FALSE(read(f, {"--mirror", "a=b", "--mirror", "c=d", "run", "--context", "one", "--context", "two"}));
  CHECK(f.mirrors == std::vector<std::string>{"a=b", "c=d"});
  CHECK(f.of_command == "two");
}

TEST_CASE("command line: what is wrong is said in any of them", "[command_line]") {
  Flags f;
  CHECK(read(f, {"--workers", "9"}) == 2);
  CHECK(read(f, {"--nonsense"}) == 2);
  CHECK(read(f, {"run", "one", "two"}) == 2);  // a word is no flag
}
