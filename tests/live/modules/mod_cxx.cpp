// SPDX-License-Identifier: Apache-2.0
//
// An httpd module in C++ for tests/live/thirdparty/test_cxx.py: what the C++ run-time library keeps
// for each thread (exceptions, thread_local objects), and what threads share (statics, futures),
// across waits.
//
//   SetHandler cxx, then GET /SCENE?NUMBER: plays a scene, and prints what it has seen
//   CxxGate FOLDER     where the test holds requests: gates.FileGate
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>

extern "C" {
extern module AP_MODULE_DECLARE_DATA cxx_module __attribute__((visibility("default")));
}

namespace
{

using namespace std::chrono_literals;

std::string gate;

// Waits until the test opens the gate.
void hold()
{
    int arrivals = open((gate + "/arrivals").c_str(), O_WRONLY | O_APPEND);
    int lock = open((gate + "/lock").c_str(), O_RDONLY);

    if (arrivals < 0 || lock < 0 || write(arrivals, "x", 1) != 1 || flock(lock, LOCK_SH) != 0)
        throw std::runtime_error("no gate");
    close(arrivals);
    close(lock);
}

// --- exceptions ---

// Each waits inside a catch block, throws another exception there, and waits in that one's block.
std::string caught(const std::string &me)
{
    std::ostringstream saw;

    try {
        try {
            throw std::runtime_error(me);
        } catch (const std::exception &outer) {
            hold();
            saw << outer.what() << ' ';
            try {
                throw std::out_of_range("inner " + me);
            } catch (const std::exception &inner) {
                std::this_thread::sleep_for(1ms);
                saw << inner.what() << ' ';
            }
            throw; // the outer one again
        }
    } catch (const std::exception &again) {
        saw << again.what();
    }
    saw << ' ' << std::uncaught_exceptions() << (std::current_exception() ? " left" : " none");
    return saw.str();
}

struct waits_when_it_goes {
    int *uncaught;

    ~waits_when_it_goes()
    {
        hold();
        *uncaught = std::uncaught_exceptions();
    }
};

// The stack is unwound, and a destructor waits during that.
std::string unwound(const std::string &me)
{
    int uncaught = -1;
    std::string what;

    try {
        waits_when_it_goes waits{&uncaught};
        throw std::runtime_error(me);
    } catch (const std::exception &error) {
        what = error.what();
    }
    return what + " " + std::to_string(uncaught) + " " + std::to_string(std::uncaught_exceptions());
}

// An exception that another thread has thrown arrives by way of a future.
std::string carried(const std::string &me)
{
    auto future = std::async(std::launch::async, [me]() -> int {
        std::this_thread::sleep_for(1ms);
        throw std::runtime_error(me);
    });

    hold();
    try {
        return std::to_string(future.get());
    } catch (const std::exception &error) {
        return std::string("carried ") + error.what();
    }
}

// --- statics ---

std::atomic<int> made;

struct slow {
    int number;

    slow() : number(++made)
    {
        hold();
    }
};

std::string static_made_once(const std::string &)
{
    static const slow one;

    return std::to_string(one.number) + " of " + std::to_string(made.load());
}

// The first two fail to initialize it; each time, one of those that waited tries next.
std::string static_made_after_failures(const std::string &)
{
    static std::atomic<int> tries;
    static const auto make = [] {
        std::this_thread::sleep_for(1ms);
        if (++tries <= 2)
            throw std::runtime_error("not yet");
        return tries.load();
    };

    for (;;) {
        try {
            static const int one = make();
            return std::to_string(one) + " of " + std::to_string(tries.load());
        } catch (const std::runtime_error &) {
            std::this_thread::yield();
        }
    }
}

std::string called_once(const std::string &)
{
    static std::once_flag flag;
    static std::atomic<int> calls;

    std::call_once(flag, [] {
        std::this_thread::sleep_for(1ms);
        calls++;
    });
    return std::to_string(calls.load());
}

// --- thread_local ---

std::atomic<int> alive; // objects of threads that a scene has created

struct object {
    std::string text = "new";
    bool counted = false;

    void count()
    {
        counted = true;
        alive++;
    }
    ~object()
    {
        std::this_thread::sleep_for(1ms);
        if (counted)
            alive--;
    }
};

thread_local object mine;
thread_local int number = 7; // from the initial image
thread_local std::map<std::string, std::string> table;

std::string thread_local_kept(const std::string &me)
{
    const std::string *where = &mine.text;

    mine.text = me;
    number = std::stoi(me);
    table[me] = me;
    hold();
    std::string saw = *where + ' ' + mine.text + ' ' + std::to_string(number) + ' ' +
                      (table.count(me) == 1 ? table[me] : "none") + ' ' +
                      std::to_string(table.size());
    table.clear();
    return saw + (where == &mine.text ? " there" : " moved");
}

// A new thread has new objects, which end with it.
std::string thread_local_ends(const std::string &me)
{
    std::string saw;

    std::thread thread([&] {
        saw = mine.text + ' ' + std::to_string(number) + ' ' + std::to_string(table.size());
        mine.text = me;
        number = 8;
        table[me] = me;
        mine.count();
        std::this_thread::sleep_for(1ms);
        saw += ' ' + mine.text;
    });
    hold();
    thread.join();
    return saw;
}

std::string thread_locals_alive(const std::string &)
{
    return std::to_string(alive.load());
}

// --- threads ---

std::string thread_joined(const std::string &me)
{
    std::vector<std::string> got(3);
    std::vector<std::thread> threads;
    std::thread::id self = std::this_thread::get_id();
    bool different = true;

    for (size_t i = 0; i < got.size(); i++)
        threads.emplace_back([&, i] {
            std::this_thread::sleep_for(1ms);
            got[i] = me + "." + std::to_string(i);
        });
    for (auto &thread : threads)
        different = different && thread.get_id() != self;
    hold();
    for (auto &thread : threads)
        thread.join();
    return got[0] + ' ' + got[1] + ' ' + got[2] + (different ? " different" : " same");
}

std::string future_got(const std::string &me)
{
    std::promise<std::string> promise;
    std::future<std::string> future = promise.get_future();
    bool early = future.wait_for(0s) == std::future_status::ready;
    std::thread thread([&] {
        std::this_thread::sleep_for(2ms);
        promise.set_value("promised " + me);
    });
    auto computed = std::async(std::launch::async, [&me] {
        std::this_thread::sleep_for(1ms);
        return "async " + me;
    });

    hold();
    std::string saw = future.get() + ' ' + computed.get();
    thread.join();
    return saw + (early ? " early" : " waited");
}

// All requests ask a thread of the module's own, which answers them.
class server_thread
{
    std::mutex mutex;
    std::condition_variable asked;
    std::vector<std::pair<std::string, std::promise<std::string>>> line;
    std::thread thread;
    bool ends = false;

    void serve()
    {
        std::unique_lock<std::mutex> lock(mutex);
        for (;;) {
            asked.wait(lock, [this] { return ends || !line.empty(); });
            if (ends)
                return;
            auto taken = std::move(line);
            line.clear();
            lock.unlock();
            for (auto &each : taken)
                each.second.set_value("served " + each.first);
            lock.lock();
        }
    }

  public:
    server_thread() : thread([this] { serve(); })
    {
    }
    ~server_thread()
    {
        {
            std::lock_guard<std::mutex> lock(mutex);
            ends = true;
        }
        asked.notify_all();
        thread.join();
    }
    std::string ask(const std::string &me)
    {
        std::future<std::string> answer;
        {
            std::lock_guard<std::mutex> lock(mutex);
            line.emplace_back(me, std::promise<std::string>());
            answer = line.back().second.get_future();
        }
        asked.notify_one();
        return answer.get();
    }
};

std::unique_ptr<server_thread> server;

std::string asked_of_a_thread(const std::string &me)
{
    static std::once_flag flag;

    std::call_once(flag, [] { server = std::make_unique<server_thread>(); });
    hold();
    return server->ask(me);
}

// --- locks ---

std::string locked(const std::string &)
{
    static std::recursive_mutex recursive;
    static std::shared_timed_mutex shared;
    static std::timed_mutex timed;
    static int inside, readers;
    int most, reading;

    {
        std::lock_guard<std::recursive_mutex> lock(recursive), again(recursive);
        inside++;
        std::this_thread::sleep_for(1ms);
        most = inside--;
    }
    {
        std::unique_lock<std::shared_timed_mutex> lock(shared);
        readers++;
        std::this_thread::sleep_for(500us);
        reading = readers--;
    }
    std::shared_lock<std::shared_timed_mutex> lock(shared, 60s);
    std::unique_lock<std::timed_mutex> last(timed, 60s);
    return std::to_string(most) + ' ' + std::to_string(reading) + (lock ? " read" : " late") +
           (last ? " had" : " late");
}

// All wait on one atomic until the last has arrived, which releases them all.
std::string atomic_waited(const std::string &)
{
    static std::atomic<int> come, round;
    int before = round.load();

    if (++come == 40) {
        come = 0;
        round++;
        round.notify_all();
    } else {
        round.wait(before);
    }
    return round.load() > before ? "let go" : "not yet";
}

const std::map<std::string, std::function<std::string(const std::string &)>> scenes = {
    {"/caught", caught},
    {"/unwound", unwound},
    {"/carried", carried},
    {"/static_made_once", static_made_once},
    {"/static_made_after_failures", static_made_after_failures},
    {"/called_once", called_once},
    {"/thread_local_kept", thread_local_kept},
    {"/thread_local_ends", thread_local_ends},
    {"/thread_locals_alive", thread_locals_alive},
    {"/thread_joined", thread_joined},
    {"/future_got", future_got},
    {"/asked_of_a_thread", asked_of_a_thread},
    {"/locked", locked},
    {"/atomic_waited", atomic_waited},
};

int handler(request_rec *r)
{
    auto scene = scenes.find(r->uri);

    if (strcmp(r->handler, "cxx") != 0 || scene == scenes.end())
        return DECLINED;
    ap_set_content_type(r, "text/plain");
    try {
        ap_rprintf(r, "%s\n", scene->second(r->args ? r->args : "").c_str());
    } catch (const std::exception &error) {
        ap_rprintf(r, "failed: %s\n", error.what());
    }
    return OK;
}

apr_status_t end_server(void *)
{
    server.reset();
    return APR_SUCCESS;
}

void child_init(apr_pool_t *pchild, server_rec *)
{
    apr_pool_cleanup_register(pchild, nullptr, end_server, apr_pool_cleanup_null);
}

const char *set_gate(cmd_parms *, void *, const char *folder)
{
    gate = folder;
    return nullptr;
}

const command_rec commands[] = {
    AP_INIT_TAKE1("CxxGate", reinterpret_cast<cmd_func>(reinterpret_cast<void (*)()>(set_gate)),
                  nullptr, RSRC_CONF, "where requests are held"),
    {},
};

void register_hooks(apr_pool_t *)
{
    ap_hook_child_init(child_init, nullptr, nullptr, APR_HOOK_MIDDLE);
    ap_hook_handler(handler, nullptr, nullptr, APR_HOOK_MIDDLE);
}

} // namespace

module AP_MODULE_DECLARE_DATA cxx_module = {
    STANDARD20_MODULE_STUFF, nullptr, nullptr, nullptr, nullptr, commands, register_hooks, 0};
