// Packages of the distribution on a whole machine: the real dpkg and rpm, on the folder that stands for it.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "src/agent/process.hpp"
#include "src/agent/testing.hpp"

namespace endstate::agent::testing {
namespace {

using State = api::PackageState;
namespace fs = std::filesystem;

bool can(const std::vector<std::string>& argv) {
  static const std::atomic<bool> never{false};
  const auto ended = run_command({.argv = argv}, never);
  return ended && ended->code == 0;
}
void must(const std::vector<std::string>& argv) {
  INFO(argv.front() << " " << argv.back());
  REQUIRE(can(argv));
}

// A package "tool" with a program, a folder of data and a configuration file. `depends`: a Depends field.
std::string make_deb(const Machine& m, const std::string& version, const std::string& depends = "", const std::string& arch = "all") {
  const auto tree = m.shop.path() + "/deb-" + version;
  const auto file = tree + ".deb";
  put(tree + "/usr/bin/tool", "tool " + version + "\n");
  put(tree + "/usr/share/tool-" + version + "/data", "data of " + version);
  put(tree + "/etc/tool/tool.conf", "setting of " + version + "\n");
  put(tree + "/DEBIAN/conffiles", "/etc/tool/tool.conf\n");
  put(tree + "/DEBIAN/control", "Package: tool\nVersion: " + version + "\nArchitecture: " + arch +
                                    "\nMaintainer: nobody <nobody@example.com>\n" + (depends.empty() ? "" : "Depends: " + depends + "\n") +
                                    "Description: a tool\n");
  must({"/bin/sh", "-c", "cd \"$0\" && find usr etc -type f | xargs md5sum >DEBIAN/md5sums", tree});
  must({"dpkg-deb", "--root-owner-group", "--build", tree, file});
  return file;
}
std::string make_rpm(const Machine& m, const std::string& version) {
  const auto top = m.shop.path() + "/rpm";
  put(top + "/tool.spec",
      "Name: tool\nVersion: " + version +
          "\nRelease: 1\nSummary: a tool\nLicense: none\nBuildArch: noarch\nAutoReqProv: no\n%description\na tool\n"
          "%install\nmkdir -p %{buildroot}/usr/bin %{buildroot}/etc/tool\necho 'tool " +
          version +
          "' >%{buildroot}/usr/bin/tool\n"
          "echo 'setting of " +
          version + "' >%{buildroot}/etc/tool/tool.conf\n%files\n%dir /etc/tool\n/usr/bin/tool\n%config(noreplace) /etc/tool/tool.conf\n");
  must({"rpmbuild", "-bb", "--quiet", "--define", "_topdir " + top, "--define", "_dbpath " + top + "/db", top + "/tool.spec"});
  return top + "/RPMS/noarch/tool-" + version + "-1.noarch.rpm";
}

api::ResolvedPackage package_of(const std::string& file, const std::string& method, const std::string& version,
                                const std::string& spec = "", const std::string& slot = "tool") {
  api::ResolvedPackage r;
  r.name = Text(slot);
  r.version = {Text(slot + "-" + version), Text("uid-" + slot + "-" + version), "d"};
  r.spec.raw =
      Text(R"({"packageName":")" + slot + R"(","version":")" + version + R"(","install":{"method":")" + method +
           R"(","artifacts":[{"arch":"amd64","url":"file://)" + file + R"(","sha256":")" + sha256_of_file(file) + R"("}]})" + spec + "}");
  return r;
}

// As text, so that a difference can be read.
std::string view_of(const Machine& m) {
  std::string all;
  for (const auto& [path, what] : outside_view(m.disk.path())) all += path + ": " + what + "\n";
  return all;
}

struct Bench : Machine {
  std::unique_ptr<FaultHost> fault;
  std::unique_ptr<Engine> engine;
  Bench() {
    for (const auto* folder : {"/var/lib/dpkg/info", "/var/lib/dpkg/updates", "/var/lib/rpm", "/var/log", "/var/tmp"})
      fs::create_directories(at(folder));
    for (const auto* folder : {"/usr/bin", "/usr/share", "/etc"}) put(at(folder) + "/of-others", "theirs");  // empty, they would go, too
    put(at("/var/lib/dpkg/status"), "");
    put(at("/var/lib/dpkg/available"), "");
    restart_agent();
  }
  void restart_agent() {
    engine.reset();
    fault = host();
    engine = std::make_unique<Engine>(*fault, settings());
  }
  Round settle(const Order& order) { return Machine::settle(*engine, order); }
  Round settle_later(const Order& order) {
    pass(std::chrono::minutes(1));
    return settle(order);
  }
  Order order(const api::ResolvedPackage& package, const std::string& grant = "g1") const { return order_of({package}, grant); }
  std::string dpkg_says() const {
    static const std::atomic<bool> never{false};
    const auto ended = run_command(
        {.argv = {"dpkg-query", "--root=" + disk.path(), "--show", "--showformat=${db:Status-Status} ${Version}", "tool"}}, never);
    return ended && ended->code == 0 ? ended->output : "";
  }
};

State state_of(const Round& round, std::string_view slot = "tool") {
  const auto* r = find_report(round, slot);
  return r == nullptr ? State::unknown : r->state;
}
std::string message_of(const Round& round, std::string_view slot = "tool") {
  const auto* r = find_report(round, slot);
  return r == nullptr ? "no report" : r->reason.str() + ": " + r->message.str();
}
std::string actual_of(const Round& round, std::string_view slot = "tool") {
  const auto* r = find_report(round, slot);
  return r == nullptr || !r->actual ? "" : r->actual->name.str();
}

bool has_dpkg() {
  if (::geteuid() == 0 && can({"dpkg-deb", "--version"})) return true;
  WARN("not root, or no dpkg: nothing was tested");
  return false;
}

}  // namespace

TEST_CASE("a Debian package is installed as it is, updated, gone back from without its artifact, and purged", "[agent][deb]") {
  if (!has_dpkg()) return;
  Bench b;
  const auto bare = view_of(b);
  const auto one = package_of(make_deb(b, "1.0-1"), "Deb", "1.0-1");
  auto round = b.settle(b.order(one));
  INFO(message_of(round));
  REQUIRE(state_of(round) == State::ready);
  CHECK(b.dpkg_says() == "installed 1.0-1");
  CHECK(get(b.at("/usr/bin/tool")) == "tool 1.0-1\n");

  SECTION("an update, and back") {
    round = b.settle(b.order(package_of(make_deb(b, "2.0-1"), "Deb", "2.0-1"), "g2"));
    CHECK(actual_of(round) == "tool-2.0-1");
    CHECK(b.dpkg_says() == "installed 2.0-1");
    CHECK(get(b.at("/etc/tool/tool.conf")) == "setting of 2.0-1\n");
    CHECK_FALSE(fs::exists(b.at("/usr/share/tool-1.0-1")));
    fs::remove(b.shop.path() + "/deb-1.0-1.deb");
    round = b.settle(b.order(one, "g3"));
    CHECK(state_of(round) == State::ready);
    CHECK(b.dpkg_says() == "installed 1.0-1");
    CHECK(get(b.at("/usr/bin/tool")) == "tool 1.0-1\n");
  }
  SECTION("a version that can't be configured is taken back at once") {
    round = b.settle(b.order(package_of(make_deb(b, "2.0-1", "not-there"), "Deb", "2.0-1"), "g2"));
    CHECK(state_of(round) == State::failed);
    CHECK_THAT(message_of(round), Catch::Contains("not-there"));
    CHECK(actual_of(round) == "tool-1.0-1");
    CHECK(b.dpkg_says() == "installed 1.0-1");
    CHECK(get(b.at("/etc/tool/tool.conf")) == "setting of 1.0-1\n");
  }
  SECTION("what is done to it by hand is put right; what is not, costs no process") {
    const auto order = b.order(one);
    std::ofstream(b.at("/usr/bin/tool")) << "something else\n";
    round = b.settle_later(order);
    CHECK(get(b.at("/usr/bin/tool")) == "tool 1.0-1\n");
    fs::remove(b.at("/usr/share/tool-1.0-1/data"));
    b.settle_later(order);
    CHECK(fs::exists(b.at("/usr/share/tool-1.0-1/data")));
    must({"dpkg", "--root=" + b.disk.path(), "--log=/dev/null", "--purge", "tool"});
    b.settle_later(order);
    CHECK(b.dpkg_says() == "installed 1.0-1");
    must({"dpkg", "--root=" + b.disk.path(), "--log=/dev/null", "--install", make_deb(b, "3.0-1")});  // somebody's apt upgrade
    round = b.settle_later(order);
    CHECK(b.dpkg_says() == "installed 1.0-1");
    CHECK(state_of(round) == State::ready);
    const auto steps = b.fault->steps;
    b.settle_later(order);
    CHECK(b.fault->steps == steps);
  }
  SECTION("a setting that was changed by hand stays, unless the package's files name it") {
    std::ofstream(b.at("/etc/tool/tool.conf")) << "by hand\n";
    b.settle_later(b.order(one));
    b.settle(b.order(package_of(make_deb(b, "2.0-1"), "Deb", "2.0-1"), "g2"));
    CHECK(get(b.at("/etc/tool/tool.conf")) == "by hand\n");
    const auto owned = package_of(make_deb(b, "3.0-1"), "Deb", "3.0-1", R"(,"files":[{"path":"/etc/tool/tool.conf","content":"ours\n"}])");
    round = b.settle(b.order(owned, "g3"));
    CHECK(outside_view(b.disk.path()).at("/etc/tool/tool.conf") == "link to: ours\n");
    round = b.settle(
        b.order(package_of(make_deb(b, "4.0-1"), "Deb", "4.0-1", R"(,"files":[{"path":"/etc/tool/tool.conf","content":"new\n"}])"), "g4"));
    CHECK(state_of(round) == State::ready);
    CHECK(outside_view(b.disk.path()).at("/etc/tool/tool.conf") == "link to: new\n");
    CHECK(b.dpkg_says() == "installed 4.0-1");
    b.settle(b.order(owned, "g5"));
    CHECK(outside_view(b.disk.path()).at("/etc/tool/tool.conf") == "link to: ours\n");
  }
  SECTION("into an Archive and back") {
    const auto archive = make_package(b, {.slot = "tool", .version = "9"});
    round = b.settle(b.order(archive, "g2"));
    CHECK(state_of(round) == State::ready);
    CHECK(b.dpkg_says().empty());
    CHECK(outside_view(b.disk.path()).at("/usr/local/bin/tool") == "link to: tool 9\n");
    round = b.settle(b.order(one, "g3"));
    CHECK(b.dpkg_says() == "installed 1.0-1");
    CHECK_FALSE(outside_view(b.disk.path()).contains("/usr/local/bin/tool"));
  }
  auto released = b.order(one, "g9");
  released.spec.state = api::AssignmentState::released;
  released.spec.packages.clear();
  round = b.settle(released);
  CHECK(round.plan.packages.empty());
  CHECK(b.dpkg_says().empty());
  CHECK(view_of(b) == bare);
}

TEST_CASE("what a Debian package may not be, or stand on", "[agent][deb]") {
  if (!has_dpkg()) return;
  Bench b;
  SECTION("of another processor") {
    const auto round = b.settle(b.order(package_of(make_deb(b, "1.0-1", "", "riscv64"), "Deb", "1.0-1")));
    CHECK_THAT(message_of(round), Catch::Contains("riscv64"));
    CHECK(b.dpkg_says().empty());
  }
  SECTION("no package at all") {
    put(b.shop.path() + "/x.deb", "nothing");
    CHECK_THAT(message_of(b.settle(b.order(package_of(b.shop.path() + "/x.deb", "Deb", "1")))), Catch::Contains("dpkg-deb"));
  }
  SECTION("somebody's other version, of which there is no file") {
    must({"dpkg", "--root=" + b.disk.path(), "--log=/dev/null", "--install", make_deb(b, "0.9-1")});
    auto round = b.settle(b.order(package_of(make_deb(b, "1.0-1"), "Deb", "1.0-1")));
    CHECK(state_of(round) == State::failed);
    CHECK_THAT(message_of(round), Catch::Contains("order that version first"));
    CHECK(b.dpkg_says() == "installed 0.9-1");                                          // also after the way back
    round = b.settle(b.order(package_of(make_deb(b, "0.9-1"), "Deb", "0.9-1"), "g2"));  // taken over as it is
    CHECK(state_of(round) == State::ready);
    for (const auto& what : b.fault->log) CHECK_FALSE(what.starts_with("install "));
    round = b.settle(b.order(package_of(make_deb(b, "1.0-1"), "Deb", "1.0-1"), "g3"));
    CHECK(b.dpkg_says() == "installed 1.0-1");
  }
  SECTION("another slot's") {
    auto order = b.order(package_of(make_deb(b, "1.0-1"), "Deb", "1.0-1"));
    order.spec.packages.push_back(package_of(make_deb(b, "2.0-1"), "Deb", "2.0-1", "", "other"));
    const auto round = b.settle(order);
    CHECK(state_of(round) == State::ready);
    CHECK_THAT(message_of(round, "other"), Catch::Contains("belongs to slot tool"));
    CHECK(b.dpkg_says() == "installed 1.0-1");
  }
  SECTION("what another dpkg is at") {
    const auto order = b.order(package_of(make_deb(b, "1.0-1"), "Deb", "1.0-1"));
    const int held = ::open(b.at("/var/lib/dpkg/lock").c_str(), O_RDWR | O_CREAT, 0600);
    std::array<int, 2> ready{};
    REQUIRE(::pipe(ready.data()) == 0);
    const pid_t other = ::fork();  // a lock is a process's
    if (other == 0) {
      struct flock lock {};
      lock.l_type = F_WRLCK;
      (void)!::fcntl(held, F_SETLK, &lock);
      (void)!::write(ready[1], "x", 1);
      ::usleep(1'500'000);
      ::_exit(0);
    }
    char byte = 0;
    (void)!::read(ready[0], &byte, 1);
    const auto before = std::chrono::steady_clock::now();
    CHECK(state_of(b.settle(order)) == State::ready);
    CHECK(std::chrono::steady_clock::now() - before > std::chrono::seconds(1));
    ::waitpid(other, nullptr, 0);
    for (const int fd : {held, ready[0], ready[1]}) ::close(fd);
  }
}

TEST_CASE("a host that dies in a Debian package's update ends in the new version; in a bad one's, in the old", "[agent][deb][crash]") {
  if (!has_dpkg()) return;
  const Machine shop;
  const auto deb_1 = make_deb(shop, "1.0-1");
  const auto deb_2 = make_deb(shop, "2.0-1");
  const auto deb_bad = make_deb(shop, "3.0-1", "not-there");
  for (const bool bad : {false, true}) {
    int steps = 1;
    for (int k = 0; k < steps; ++k) {
      Bench b;
      const auto settings = [&] {
        auto s = b.settings();
        s.sources.allowed.push_back("file://" + shop.shop.path());
        return s;
      }();
      const auto settle = [&](Host& host, const Order& order) {
        Engine engine(host, settings);
        return static_cast<Machine&>(b).settle(engine, order);
      };
      const auto first = b.host();
      settle(*first, b.order(package_of(deb_1, "Deb", "1.0-1")));
      const auto order = b.order(bad ? package_of(deb_bad, "Deb", "3.0-1") : package_of(deb_2, "Deb", "2.0-1"), "g2");
      const auto host = b.host();
      if (k > 0) host->kill_after = k - 1;  // the first time through: how many there are
      bool killed = false;
      try {
        settle(*host, order);
      } catch (const Killed&) {
        killed = true;
      }
      if (k == 0) steps = host->steps + 1;
      REQUIRE(killed == (k > 0));
      INFO("killed after step " << k - 1 << ": " << host->log.back());
      // dpkg itself was cut off, too: half of it.
      if (killed && host->log.back().starts_with("install ")) {
        auto status = get(b.at("/var/lib/dpkg/status"));
        const auto at = status.find("Status: ");
        status.replace(at, status.find('\n', at) - at, "Status: install reinstreq half-installed");
        std::ofstream(b.at("/var/lib/dpkg/status")) << status;
        fs::remove(b.at("/usr/bin/tool"));
      }
      b.reboot();
      const auto next = b.host();
      const auto round = settle(*next, order);
      CHECK(state_of(round) == (bad ? State::failed : State::ready));
      CHECK(actual_of(round) == (bad ? "tool-1.0-1" : "tool-2.0-1"));
      CHECK(b.dpkg_says() == (bad ? "installed 1.0-1" : "installed 2.0-1"));
      CHECK(get(b.at("/usr/bin/tool")) == (bad ? "tool 1.0-1\n" : "tool 2.0-1\n"));
    }
    CHECK(steps > 8);
  }
}

TEST_CASE("an rpm package is installed, updated, gone back from and erased", "[agent][rpm]") {
  if (::geteuid() != 0 || !can({"rpmbuild", "--version"})) {
    WARN("not root, or no rpm: nothing was tested");
    return;
  }
  Bench b;
  const auto bare = view_of(b);
  const auto one = package_of(make_rpm(b, "1.0"), "Rpm", "1.0");
  const auto two = package_of(make_rpm(b, "2.0"), "Rpm", "2.0");
  auto round = b.settle(b.order(one));
  INFO(message_of(round));
  REQUIRE(state_of(round) == State::ready);
  CHECK(get(b.at("/usr/bin/tool")) == "tool 1.0\n");
  round = b.settle(b.order(two, "g2"));
  CHECK(actual_of(round) == "tool-2.0");
  CHECK(get(b.at("/usr/bin/tool")) == "tool 2.0\n");
  std::ofstream(b.at("/usr/bin/tool")) << "something else, longer\n";
  round = b.settle_later(b.order(two, "g2"));
  CHECK(get(b.at("/usr/bin/tool")) == "tool 2.0\n");
  CHECK(state_of(round) == State::ready);
  round = b.settle(b.order(one, "g3"));
  CHECK(actual_of(round) == "tool-1.0");
  CHECK(get(b.at("/usr/bin/tool")) == "tool 1.0\n");
  auto released = b.order(one, "g9");
  released.spec.state = api::AssignmentState::released;
  released.spec.packages.clear();
  b.settle(released);
  CHECK(view_of(b) == bare);
}

}  // namespace endstate::agent::testing
