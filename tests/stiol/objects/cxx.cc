// SPDX-License-Identifier: Apache-2.0
//
// C++ that knows nothing of STIOL: function-local statics whose initialisers wait, throw and come
// to themselves, and the standard library's own waits. Called by test_cxx.c.
#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <future>
#include <latch>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <stdexcept>
#include <thread>

#include <sys/single_threaded.h>
#include <unistd.h>

#include "tests/stiol/objects/cxx.h"

namespace
{

std::atomic<int> made, tries;

int make_slowly()
{
    usleep(2000);
    return ++made;
}

int fail_once()
{
    usleep(2000);
    if (++tries == 1)
        throw std::runtime_error("the first time");
    return tries;
}

int come_back();

int ask_oneself()
{
    static int value = come_back();
    return value;
}

int come_back()
{
    usleep(1000);
    return ask_oneself() + 1;
}

std::promise<int> promise;
std::future<int> future = promise.get_future();
std::atomic<int> word;
std::counting_semaphore<> semaphore(0);
std::latch latch(3);
std::barrier<> barrier(3);

std::timed_mutex timed;
std::recursive_mutex recursive;
std::shared_mutex shared;
std::mutex mutex;
std::condition_variable_any any;
bool told;

template <int N> int one_of_many()
{
    static int value = make_slowly();
    return value != 0;
}

template <int... N> int all_of(std::integer_sequence<int, N...>)
{
    return (one_of_many<N>() + ...);
}

} // namespace

extern "C" {

int cxx_single_threaded(void)
{
    return __libc_single_threaded;
}

int cxx_static(void)
{
    static int value = make_slowly();
    return value;
}

int cxx_times_made(void)
{
    return made;
}

int cxx_many_statics(void)
{
    return all_of(std::make_integer_sequence<int, 16>());
}

int cxx_static_that_fails_once(void)
{
    try {
        static int value = fail_once();
        return value;
    } catch (const std::runtime_error &) {
        return -1;
    }
}

int cxx_static_that_needs_itself(void)
{
    return ask_oneself();
}

int cxx_get_future(void)
{
    return future.get();
}

void cxx_set_future(int value)
{
    promise.set_value(value);
}

int cxx_get_from_thread(int milliseconds)
{
    std::promise<int> promised;
    auto result = promised.get_future();

    std::thread(
        [milliseconds](std::promise<int> own) {
            std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
            own.set_value(milliseconds);
        },
        std::move(promised))
        .detach();
    return result.get();
}

int cxx_future_in_time(int milliseconds)
{
    std::promise<int> never;

    return never.get_future().wait_for(std::chrono::milliseconds(milliseconds)) ==
           std::future_status::timeout;
}

void cxx_wait_while(int value)
{
    word.wait(value);
}

void cxx_set_word(int value)
{
    word.store(value);
    word.notify_all();
}

void cxx_acquire(void)
{
    semaphore.acquire();
}

void cxx_release(int count)
{
    semaphore.release(count);
}

void cxx_arrive_at_latch(void)
{
    latch.arrive_and_wait();
}

void cxx_meet_at_barrier(int rounds)
{
    for (int i = 0; i < rounds; i++)
        barrier.arrive_and_wait();
}

int cxx_use_locks(int *inside)
{
    int wrong = 0;

    {
        std::unique_lock<std::timed_mutex> lock(timed, std::chrono::seconds(60));
        std::lock_guard<std::recursive_mutex> outer(recursive), inner(recursive);
        std::unique_lock<std::shared_mutex> writing(shared);

        wrong += ++*inside != 1 || !lock.owns_lock();
        usleep(50);
        --*inside;
    }
    std::shared_lock<std::shared_mutex> reading(shared);
    return wrong;
}

void cxx_wait_until_told(void)
{
    std::unique_lock<std::mutex> lock(mutex);

    any.wait(lock, [] { return told; });
}

void cxx_tell(void)
{
    {
        std::lock_guard<std::mutex> lock(mutex);
        told = true;
    }
    any.notify_all();
}

} // extern "C"
