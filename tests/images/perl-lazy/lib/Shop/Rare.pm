package Shop::Rare;
use strict;
use warnings;

sub show {
    require POSIX;
    require Time::Local;
    require Text::Wrap;
    require Encode;
    print POSIX::floor(2.5), " ", Time::Local::timegm(0, 0, 0, 1, 0, 100), "\n";
    print Text::Wrap::wrap("", "  ", "words " x 20), "\n";
    print length(Encode::encode("shiftjis", "\x{3042}")), "\n";
    open my $in, "<", \"in memory\n";
    print <$in>;
    binmode STDOUT, ":encoding(UTF-7)";
    print "\N{SNOWMAN} \x{e9}\n";
    print "no\n" unless "\x{3b1}" =~ /\p{Greek}/;
}

1;
