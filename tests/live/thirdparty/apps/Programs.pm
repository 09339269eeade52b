# SPDX-License-Identifier: Apache-2.0
#
# A mod_perl handler for test_perl.py: runs programs in the ways that Perl has, and reports what they
# said and how they ended.
package Programs;

use strict;
use warnings;

use Apache2::Const -compile => qw(OK);
use Apache2::RequestIO ();
use Apache2::RequestRec ();

sub handler
{
    my ($r) = @_;
    my $me = $r->args;
    my $status = system('/bin/sh', '-c', 'exit 3') >> 8;
    my $quoted = `echo quoted $me`;

    open(my $from, '-|', '/bin/sh', '-c', "echo piped $me; exit 4") or die "no program: $!";
    my $piped = <$from>;
    close($from);
    my $ended = $? >> 8;
    my $none = system('/nowhere') == -1 ? 'none' : 'found';

    $r->content_type('text/plain');
    $r->print("$status\n$quoted$piped$ended $none\n");
    return Apache2::Const::OK;
}

1;
