#include "src/agent/linux_host.hpp"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <thread>

#include "src/agent/process_services.hpp"
#include "src/agent/testing.hpp"

namespace endstate::agent::testing {
namespace {

using namespace std::chrono_literals;

struct Place {
  Folder folder;
  std::unique_ptr<Host> host = linux_host({.root = folder.path()}, nullptr);  // durable, as on a real host
  std::string at(const std::string& path) const { return folder.path() + path; }
};

}  // namespace

TEST_CASE("files and links take the place of others at once, and leave no remains", "[agent][host]") {
  Place p;
  REQUIRE(p.host->make_folder("/etc", 0755));
  REQUIRE(p.host->make_folder("/etc", 0755));
  put(p.at("/etc/.endstate-new.file"), "what a dead agent left");
  REQUIRE(p.host->write("/etc/file", "one", 0640));
  REQUIRE(p.host->write("/etc/file", "two", 0600));
  CHECK(get(p.at("/etc/file")) == "two");
  CHECK((*p.host->look("/etc/file"))->mode == 0600);
  REQUIRE(p.host->link("/etc/file", "/etc/other"));
  CHECK((*p.host->look("/etc/file"))->target == "/etc/other");
  REQUIRE(p.host->copy("/etc/file", "/etc/copy"));
  CHECK((*p.host->look("/etc/copy"))->kind == FileKind::link);
  CHECK(p.host->list("/etc").value() == std::vector<std::string>{"copy", "file"});
  CHECK(p.host->list("/none").value().empty());
  CHECK_FALSE(*p.host->look("/none/at/all"));
  CHECK_FALSE(*p.host->look("/etc/file/below"));
  REQUIRE(p.host->remove("/etc/file"));
  REQUIRE(p.host->remove("/etc/file"));
  CHECK(p.host->remove("/etc").error().code == Code::exists);
  REQUIRE(p.host->remove("/etc/copy"));
  REQUIRE(p.host->remove("/etc"));
  CHECK(p.host->write("/none/file", "x", 0644).error().code == Code::not_found);
  CHECK_FALSE(p.host->write("relative", "x", 0644));
}

TEST_CASE("nothing leaves the root, and nobody else's folder is used", "[agent][host]") {
  Place p;
  const Folder elsewhere;
  std::filesystem::create_directories(p.at("/etc"));
  SECTION("a link to another place is read as if the root were /") {
    std::filesystem::create_symlink(elsewhere.path(), p.at("/etc/out"));
    CHECK_FALSE(p.host->write("/etc/out/file", "x", 0644));
    CHECK(std::filesystem::is_empty(elsewhere.path()));
    std::filesystem::create_symlink("../../../../../../..", p.at("/etc/up"));
    REQUIRE(p.host->write("/etc/up/etc/file", "x", 0644));
    CHECK(get(p.at("/etc/file")) == "x");
  }
  SECTION("a link at the end is never followed") {
    put(elsewhere.path() + "/file", "mine");
    std::filesystem::create_symlink(elsewhere.path() + "/file", p.at("/etc/link"));
    CHECK_FALSE(p.host->read("/etc/link", 100));
    REQUIRE(p.host->write("/etc/link", "x", 0644));
    CHECK(get(elsewhere.path() + "/file") == "mine");
    CHECK((*p.host->look("/etc/link"))->kind == FileKind::file);
  }
  SECTION("a folder that everybody may write to") {
    std::filesystem::create_directories(p.at("/tmp/deep"));
    ::chmod(p.at("/tmp").c_str(), 01777);
    const auto done = p.host->write("/tmp/deep/file", "x", 0644);
    REQUIRE_FALSE(done);
    CHECK_THAT(done.error().message, Catch::Contains("writable by everybody"));
    CHECK_FALSE(p.host->remove("/tmp/deep"));
  }
  SECTION("another user's folder") {
    if (::geteuid() != 0) return;  // only root can give one away
    std::filesystem::create_directories(p.at("/srv/theirs/sub"));
    REQUIRE(::chown(p.at("/srv/theirs").c_str(), 12345, 12345) == 0);
    CHECK_THAT(p.host->link("/srv/theirs/sub/l", "x").error().message, Catch::Contains("belongs to another user"));
  }
  SECTION("sysctls stay below /proc/sys") {
    put(p.at("/proc/sys/net/ipv4/conf/eth0.1/forwarding"), "0\n");
    REQUIRE(p.host->set_sysctl("net.ipv4.conf.eth0/1.forwarding", "1"));
    CHECK(get(p.at("/proc/sys/net/ipv4/conf/eth0.1/forwarding")) == "1\n");
    put(p.at("/etc/file"), "x");
    CHECK_FALSE(p.host->set_sysctl("net.//.//.//.etc.file", "1"));
    CHECK_FALSE(p.host->set_sysctl("no.such", "1"));
    put(p.at("/proc/sys/a"), " 4096\t87380   6291456\n");
    CHECK(p.host->sysctl("a").value() == "4096 87380 6291456");
  }
}

TEST_CASE("a file of more than it may have is not read", "[agent][host]") {
  Place p;
  put(p.at("/big"), std::string(1000, 'x'));
  CHECK(p.host->read("/big", 1000));
  CHECK_FALSE(p.host->read("/big", 999));
}

TEST_CASE("a command ends, or is ended, with all that it started", "[agent][host]") {
  Place p;
  SECTION("well") {
    const auto ended = p.host->run({.argv = {"/bin/sh", "-c", "echo out; echo err >&2"}});
    REQUIRE(ended);
    CHECK(ended->code == 0);
    CHECK(ended->output == "out\nerr\n");
  }
  SECTION("its words are no shell's") {
    const auto ended = p.host->run({.argv = {"/bin/echo", "$(reboot); `id` > /tmp/x", "a b"}});
    REQUIRE(ended);
    CHECK(ended->output == "$(reboot); `id` > /tmp/x a b\n");
  }
  SECTION("badly") {
    CHECK(p.host->run({.argv = {"/bin/sh", "-c", "exit 7"}})->code == 7);
    CHECK(p.host->run({.argv = {"/bin/sh", "-c", "kill -9 $$"}})->code == 137);
    CHECK(p.host->run({.argv = {"/no/such/program"}}).error().code == Code::not_found);
    CHECK_FALSE(p.host->run({.argv = {}}));
  }
  SECTION("too late") {
    const auto began = std::chrono::steady_clock::now();
    const auto file = p.at("/pid");
    const auto ended = p.host->run({.argv = {"/bin/sh", "-c", "sleep 1000 & echo $! > " + file + "; wait"}, .timeout = 300ms});
    REQUIRE(ended);
    CHECK(ended->timed_out);
    CHECK(std::chrono::steady_clock::now() - began < 5s);
    std::this_thread::sleep_for(100ms);
    const auto stat = get("/proc/" + std::to_string(std::stoi(get(file))) + "/stat");
    CHECK((stat.empty() || stat.find(") Z ") != std::string::npos));  // the child's child is gone, too
  }
  SECTION("with more to say than is kept, and without the agent's environment") {
    ::setenv("SECRET_OF_THE_AGENT", "hush", 1);  // NOLINT(concurrency-mt-unsafe): no other thread here
    const auto ended = p.host->run({.argv = {"/bin/sh", "-c", "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; env"}});
    REQUIRE(ended);
    CHECK(ended->output.size() <= 1024);
    CHECK(ended->output.find("line 1999") != std::string::npos);
    CHECK(ended->output.find("hush") == std::string::npos);
  }
  SECTION("when the agent stops") {
    std::thread stopper([&] {
      std::this_thread::sleep_for(200ms);
      p.host->cancel();
    });
    CHECK(p.host->run({.argv = {"/bin/sleep", "1000"}}).error().code == Code::cancelled);
    stopper.join();
  }
}

TEST_CASE("services without systemd", "[agent][host]") {
  Folder folder;
  const auto host = linux_host({.root = folder.path(), .durable = false}, process_services(folder.path()));
  const auto file = folder.path() + "/etc/systemd/system/app.service";
  std::filesystem::create_directories(folder.path() + "/bin");
  std::filesystem::copy_file("/bin/sleep", folder.path() + "/bin/sleep");
  CHECK(host->unit("app.service")->state == UnitState::absent);
  CHECK_FALSE(host->unit_job("app.service", UnitJob::start));
  put(file, "[Unit]\nDescription=x\n[Service]\nExecStart=-/bin/sleep \\\n  \"1000\"\nEnvironment=A=1 \"B=two words\"\n");
  CHECK(host->unit("app.service")->state == UnitState::inactive);
  REQUIRE(host->unit_job("app.service", UnitJob::start));
  CHECK(host->unit("app.service")->state == UnitState::active);
  const auto pid = std::stoi(get(folder.path() + "/run/endstate/services/app.service"));
  REQUIRE(host->unit_job("app.service", UnitJob::start));
  CHECK(std::stoi(get(folder.path() + "/run/endstate/services/app.service")) == pid);

  SECTION("another agent knows it again") {
    const auto other = linux_host({.root = folder.path(), .durable = false}, process_services(folder.path()));
    CHECK(other->unit("app.service")->state == UnitState::active);
    REQUIRE(other->unit_job("app.service", UnitJob::restart));
    CHECK(std::stoi(get(folder.path() + "/run/endstate/services/app.service")) != pid);
  }
  SECTION("one that dies is seen") {
    ::kill(pid, SIGKILL);
    std::this_thread::sleep_for(100ms);
    CHECK(host->unit("app.service")->state == UnitState::inactive);
  }
  SECTION("a stranger with its PID is not it") {
    put(folder.path() + "/run/endstate/services/app.service", std::to_string(::getpid()) + " 1\n");
    CHECK(host->unit("app.service")->state == UnitState::inactive);
    ::kill(pid, SIGKILL);
  }
  REQUIRE(host->unit_job("app.service", UnitJob::stop));
  CHECK(host->unit("app.service")->state == UnitState::inactive);
  CHECK(service_command("[Service]\nExecStart=relative\n").error().message.find("absolute") != std::string::npos);
  CHECK_FALSE(service_command("[Unit]\nExecStart=/bin/true\n"));
  CHECK_FALSE(service_command("[Service]\nExecStart=/bin/echo \"open\n"));
}

}  // namespace endstate::agent::testing
