/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads as C++ code makes, joins and ends them: an object that knows nothing about STIOL.
 */
#include <atomic>
#include <future>
#include <pthread.h>
#include <thread>

static std::atomic<bool> may_end;

static int work(int value)
{
    while (!may_end)
        std::this_thread::yield();
    return value + 1;
}

/* To be called before each of the others; and then, to let the threads end. */
extern "C" void cxx_let_end(int yes)
{
    may_end = yes != 0;
}

extern "C" int cxx_join_thread(void)
{
    int result = 0;
    std::thread thread([&result] { result = work(1); });

    thread.join();
    return result;
}

/* What a future's last owner does is to join. */
extern "C" int cxx_join_async(void)
{
    std::atomic<int> result{0};

    {
        auto future = std::async(std::launch::async, [&result] { result = work(2); });
    }
    return result;
}

extern "C" int cxx_detach_thread(void)
{
    std::atomic<int> *result = new std::atomic<int>(0);
    std::thread thread([result] { *result = work(3); });
    int value;

    thread.detach();
    while ((value = *result) == 0)
        std::this_thread::yield();
    delete result;
    return value;
}

extern "C" int cxx_is_me(unsigned long id)
{
    return std::this_thread::get_id() == std::thread::id((pthread_t)id);
}

namespace {
struct Guard {
    void (*destructor)(void *);
    void *arg;
    ~Guard() { destructor(arg); }
};
}

extern "C" void cxx_around(void (*body)(void *), void (*destructor)(void *), void *arg)
{
    static char caught = 'c';
    Guard guard{destructor, arg};

    try {
        body(arg);
    } catch (...) {
        destructor(&caught);
        throw;
    }
}
