# SPDX-License-Identifier: Apache-2.0
#
# A mod_perl handler for test_perl.py: before and after a wait for the backend, it uses XS code that
# looks up its interpreter itself (dTHX), and reports whether everything that it saw was its own.
package Waits;

use strict;
use warnings;

use Apache2::Const -compile => qw(OK);
use Apache2::RequestIO ();
use Apache2::RequestRec ();
use DBI ();
use IO::Socket::INET ();
use POSIX ();
use XML::LibXML ();
use XML::Parser ();

our $mine;

sub wait_for_backend
{
    my ($me, $port) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port)
        or die "no backend: $!";
    print $socket "GET /$me HTTP/1.1\r\nHost: localhost\r\n\r\n";
    my $answer = '';
    while ($answer !~ /held \S+\n/) {
        sysread($socket, $answer, 1000, length $answer) or die "the backend has gone: $!";
    }
    return $answer =~ /held \/(\S+)\n/ ? $1 : '?';
}

sub elements
{
    my ($me) = @_;
    my @seen;
    my $parser = XML::Parser->new(Handlers => {Start => sub { push @seen, $_[1] }});
    $parser->parse("<a$me><b$me/><c$me/></a$me>");
    return "@seen";
}

sub error_of_libxml
{
    my ($me) = @_;
    eval { XML::LibXML->load_xml(string => "<a$me><b$me></c$me></a$me>"); };
    return $@ =~ /(b\S+) line 1 and (c\S+)/ ? "$1 $2" : "? $@";
}

# According to the thread's locale.
sub by_locale
{
    use locale;
    my ($me) = @_;
    my $text = uc("\x{e0} la carte") . sprintf(' %.1f ', 1.5) . POSIX::strtol(" $me", 10) .
        POSIX::strftime(' %A', gmtime(0)) . POSIX::strcoll('a', 'b');
    utf8::encode($text);
    return $text;
}

sub document
{
    my ($me) = @_;
    return XML::LibXML->load_xml(string => "<doc><title>$me</title></doc>");
}

sub handler
{
    my $r = shift;
    my ($me, $port, $when) = split /,/, $r->args;
    $mine = $me;
    my $document = $when eq 'before' ? document($me) : undef;
    my $db = DBI->connect('dbi:SQLite:dbname=:memory:', '', '', {RaiseError => 1, PrintError => 0});
    $db->do('CREATE TABLE names (name TEXT)');
    $db->begin_work;
    $db->do('INSERT INTO names VALUES (?)', undef, $me);
    my $told = wait_for_backend($me, $port);
    $document //= document($me);
    my $thrown = eval { die "thrown by $me\n" } // $@;
    my $rows = $db->selectcol_arrayref('SELECT name FROM names');
    eval { $db->do('SELECT no such thing') };
    my $wrong = $@ =~ /syntax error|near/ ? 'an error' : 'no error';
    $db->rollback;
    my $left = $db->selectrow_array('SELECT count(*) FROM names');
    $db->disconnect;
    chomp $thrown;
    $r->content_type('text/plain');
    $r->print("me $me\nmine $mine\ntold $told\ntitle ", $document->findvalue('/doc/title'), "\n",
        'elements ', elements($me), "\nlibxml ", error_of_libxml($me), "\n$thrown\n",
        "rows @$rows\n$wrong\nleft $left\n", by_locale($me), "\n");
    return Apache2::Const::OK;
}

1;
