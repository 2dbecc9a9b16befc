#!/usr/bin/perl
# Hands its arguments to an application that runs, prints what that answers, and ends with its status:
# a launch with a name, in another language. docs/wire.md tells what is said. It needs CryptX.
#
#     perl client.pl NAME [ARG ...]
use strict;
use warnings;
use Crypt::Digest::BLAKE2b_256 qw(blake2b_256);
use Crypt::Mac::BLAKE2b qw(blake2b);
use Crypt::PRNG qw(random_bytes);
use IO::Socket::INET;

my ($name, @words) = @ARGV;
sub fail { print STDERR shift, "\n"; exit 1 }
fail "usage: client.pl NAME [ARG ...]" unless defined $name;

sub place {    # where the application is, for this user
    my $number = unpack "Q>", blake2b_256(join "\0", "Socket_Singleton", $>, $name);
    my ($port, @parts) = (10_000 + $number % 22_768, 127);
    $number = ($number - $number % 22_768) / 22_768;
    for (1 .. 3) {
        push @parts, 1 + $number % 254;
        $number = ($number - $number % 254) / 254;
    }
    return ($^O eq "linux" ? join(".", @parts) : "127.0.0.1", $port);
}

sub key {    # of this user, or a secret
    return blake2b_256($ENV{SECRET}) if $ENV{SECRET};
    open my $file, "<:raw", "$ENV{HOME}/.local/state/Socket_Singleton/key" or fail "no key yet: $!";
    local $/;
    return <$file>;
}

my ($address, $port) = place();
my $host = IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port, Timeout => 2)
    or fail "$name does not run: $@";

sub hear {    # exactly so many bytes
    my ($size, $heard) = (shift, "");
    while (length $heard < $size) {
        $host->sysread($heard, $size - length $heard, length $heard) or fail "$name at port $port is gone";
    }
    return $heard;
}

sub prove {    # a label, and what both sides know
    my ($label, @known) = (@_, $name, "$address $port");
    return blake2b(32, key(), "$label\0" . join "", map { pack "N/a*", $_ } @known);
}

my $said = "HELLO Socket_Singleton/1\r\n\r\n" . random_bytes(32);
$host->syswrite($said);
$said .= hear(1 + 32 + 4);
hear(32) eq prove("host", $said) or fail "another program is at port $port, or another key";
my $packet = join "", map { "$_\0" } @words;
my $claim = pack("CN", 1, length $packet) . blake2b_256($packet);    # 1: it asks for the answer
print {$host} $claim, prove("launch", $said . $claim), $packet;
$host->flush;
my $reply = hear(1);
fail "$name refuses: " . hear(1) unless $reply eq "\x06";
my ($kind, $size) = unpack "CN", hear(5);
my $answer = hear($size);
print "$answer\n" if $kind == 2;
fail $answer      if $kind == 3;
exit($kind == 1 ? ord $answer : 0);
