/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ScoreboardDir (scoreboard/directory.c, and stm_score_check() of file.c): which path is used,
 * which directories and which files in them are refused, and what is cleaned up.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mpm/config/config.h"
#include "mpm/scoreboard/directory.h"
#include "mpm/scoreboard/scoreboard.h"
#include "tests/harness.h"
#include "tests/mpm/httpd.h"

enum { NOBODYS_UID = 65534 };

static char top[] = "/tmp/test_directory.XXXXXX";

/* A directory of the test's own, which is the current one: names of files need no path. */
static void begin(void)
{
    assert_non_null(mkdtemp(top));
    assert_ok(chdir(top));
    assert_ok(mkdir("boards", 0755));
    stm_config_begin();
    stm_config.num_vps = 3;
}

static void end(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'", top);
    assert_ok(system(command));
}

static const char *below(const char *name)
{
    return apr_psprintf(test_pool(), "%s/%s", top, name);
}

static int check(const char *path)
{
    forget_log();
    stm_config.scoreboard_dir = path;
    return stm_score_check(test_pool(), NULL);
}

static void assert_refused(const char *path, const char *text)
{
    assert_int_not_equal(check(path), OK);
    assert_int_equal(log_lines(), 1);
    assert_true(logged("ScoreboardDir: "));
    assert_true(logged(text));
}

static void write_file(const char *path, const char *content)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

static void a_directory_or_none(void)
{
    begin();
    assert_int_equal(check(NULL), OK);
    assert_int_equal(check(below("boards")), OK);
    assert_int_equal(check(below("boards/../boards/")), OK);
    assert_int_equal(log_lines(), 0);
    end();
}

static void what_is_no_directory_is_refused(void)
{
    begin();
    write_file("file", "");
    assert_refused(below("missing"), "/missing");
    assert_refused(below("file"), "/file");
    assert_refused("relative", "/nonexistent/relative"); /* below httpd's ServerRoot */
    assert_ok(symlink("boards", "link"));
    assert_refused(below("link"), "symbolic link");
    end();
}

static void who_else_may_write_there(void)
{
    begin();
    assert_ok(chmod("boards", 0757));
    assert_refused(below("boards"), "everyone");
    assert_ok(chmod("boards", 0755));
    assert_int_equal(check(below("boards")), OK);
    if (geteuid() != 0) {
        end();
        skip_test("only root can give a directory to another user");
    }
    ap_unixd_config.user_id = ap_unixd_config.group_id = NOBODYS_UID;
    assert_ok(chmod(top, 0755));
    assert_int_equal(check(below("boards")), OK);
    assert_ok(chown("boards", NOBODYS_UID, NOBODYS_UID));
    assert_refused(below("boards"), "user of the VPs");
    assert_ok(chown("boards", 0, NOBODYS_UID));
    assert_ok(chmod("boards", 0775));
    assert_refused(below("boards"), "user of the VPs");
    assert_ok(chown("boards", 0, 0));
    assert_int_equal(check(below("boards")), OK);
    assert_ok(chown(top, NOBODYS_UID, NOBODYS_UID));
    assert_refused(below("boards"), "above this one");
    end();
}

static void files_that_are_nobodys_scoreboards_stay(void)
{
    begin();
    write_file("boards/1", STM_SCORE_MAGIC "and the rest");
    write_file("boards/0", "");
    assert_int_equal(check(below("boards")), OK);
    write_file("boards/2", "a letter to my aunt");
    assert_refused(below("boards"), "/boards/2: ");
    stm_config.num_vps = 2; /* nobody needs that name then */
    assert_int_equal(check(below("boards")), OK);
    assert_ok(unlink("boards/1"));
    assert_ok(symlink("/etc/passwd", "boards/1"));
    assert_refused(below("boards"), "/boards/1: ");
    assert_ok(unlink("boards/1"));
    assert_ok(mkfifo("boards/1", 0644)); /* opening it would block */
    assert_refused(below("boards"), "/boards/1: ");
    assert_ok(unlink("boards/1"));
    assert_ok(link("boards/0", "elsewhere"));
    assert_refused(below("boards"), "/boards/0: ");
    end();
}

static int open_boards(void)
{
    int directory;

    assert_null(stm_score_dir_open(below("boards"), &directory));
    assert_true(directory >= 0);
    return directory;
}

static void a_file_is_made_anew(void)
{
    stm_score_new_file_t file;
    struct stat old, now;
    int directory, reader;

    begin();
    directory = open_boards();
    write_file("boards/0", STM_SCORE_MAGIC);
    reader = open("boards/0", O_RDONLY);
    assert_null(stm_score_dir_create(directory, "0", 8192, &file));
    assert_ok(fstat(reader, &old));
    assert_ok(stat("boards/0", &now));
    assert_true(old.st_ino != now.st_ino); /* readers of the old one keep it */
    assert_int_equal(old.st_size, strlen(STM_SCORE_MAGIC));
    assert_int_equal(now.st_size, 8192);
    assert_int_equal(fcntl(file.readable, F_GETFL) & O_ACCMODE, O_RDONLY);
    write_file("boards/1", "a letter");
    assert_non_null(stm_score_dir_create(directory, "1", 8192, &file));
    assert_ok(stat("boards/1", &now));
    assert_int_equal(now.st_size, strlen("a letter"));
    end();
}

static bool is_there(const char *name)
{
    return access(apr_psprintf(test_pool(), "boards/%s", name), F_OK) == 0;
}

static void only_what_is_ours_is_tidied_away(void)
{
    static const char *const ours[] = {"2", "7", "0.0.block", "1.1.block", "5.0.block"};
    static const char *const others[] = {"0",  "1",          "02",        "-1",
                                         "2x", "0.0.block~", "0.x.block", "notes"};

    begin();
    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
        write_file(below(apr_psprintf(test_pool(), "boards/%s", ours[i])), STM_SCORE_MAGIC);
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        write_file(below(apr_psprintf(test_pool(), "boards/%s", others[i])), STM_SCORE_MAGIC);
    write_file("boards/8", "a letter");
    stm_score_dir_tidy(open_boards(), 2);
    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
        assert_false(is_there(ours[i]));
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        assert_true(is_there(others[i]));
    assert_true(is_there("8"));
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(a_directory_or_none),      RAW_TEST(what_is_no_directory_is_refused),
        RAW_TEST(who_else_may_write_there), RAW_TEST(files_that_are_nobodys_scoreboards_stay),
        RAW_TEST(a_file_is_made_anew),      RAW_TEST(only_what_is_ours_is_tidied_away),
    };
    return cmocka_run_group_tests_name("directory", tests, NULL, NULL);
}
