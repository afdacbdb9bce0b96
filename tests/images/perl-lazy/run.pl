#!/usr/bin/perl
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";

my %verbs = (
    little => sub { print "little\n" },
    much   => sub {
        require Shop::Rare;
        Shop::Rare::show();
    },
);

$verbs{ $ARGV[0] }->();
