/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C++ as modules use it: thread_local objects with destructors, and exceptions that are in flight
 * while their thread waits.
 */
#include <exception>
#include <string>

namespace {

void (*tell)(char);

struct noisy {
    char name;
    std::string text;

    explicit noisy(char n) : name(n), text(100, n) {}
    ~noisy()
    {
        /* Another thread's, or none: then it is not what it was made as. */
        if (tell != nullptr)
            tell(text == std::string(100, name) ? name : '!');
    }
};

thread_local noisy first('1');
thread_local noisy second('2');
thread_local std::string word = "begin";

} // namespace

extern "C" void farewells_tell(void (*function)(char))
{
    tell = function;
}

extern "C" void farewells_use(void)
{
    (void)first.text.at(0);
    (void)second.text.at(0);
}

/* Of this thread: what it was, and now is. */
extern "C" bool farewells_word(const char *before, const char *now)
{
    bool right = word == before;

    word = now;
    return right;
}

/* Throws, waits in the handler, throws again in there, waits; all must be this thread's. */
extern "C" bool farewells_catch(int number, void (*wait)(void))
{
    try {
        throw number;
    } catch (int &outer) {
        wait();
        try {
            try {
                throw std::string(200, static_cast<char>('a' + number % 26));
            } catch (std::string &inner) {
                wait();
                if (inner != std::string(200, static_cast<char>('a' + number % 26)))
                    return false;
                throw;
            }
        } catch (std::string &again) {
            wait();
            if (again.size() != 200 || std::uncaught_exceptions() != 0)
                return false;
        }
        wait();
        try {
            std::rethrow_exception(std::current_exception());
        } catch (int same) {
            return same == number && outer == number;
        }
    }
    return false;
}
