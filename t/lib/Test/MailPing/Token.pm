package Test::MailPing::Token;

# Copyright (C) MailPing

=head1 NAME

Test::MailPing::Token - tokens, minted apart from the module

=head1 SYNOPSIS

    my $text = Test::MailPing::Token::mint(
        key => $hex,            # of the key file
        key_id => 1,
        id => 'message-1',
        recipient => 'r1',      # '' unless given
        sent => time(),         # 0 unless given
        hint => 'gmail',        # a name or a number, 0 unless given
        privacy => 'masked',    # likewise
        kind => 'single',       # likewise
        flags => 0,
        version => 1,
    );

pack_token() gives the bytes without the MAC, sign() adds it, encode() writes
base64url: for tokens that are wrong on purpose.

=cut

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use MIME::Base64 qw(encode_base64);

my %numbers = (
    hint => [ qw(unknown gmail microsoft apple yahoo gateway other) ],
    privacy => [ qw(location full masked minimal day count off) ],
    kind => [ qw(single top bottom amp test) ],
);


sub number {
    my ($part, $value) = @_;

    $value //= 0;

    if ($value =~ /^\d+$/) {
        return $value;
    }

    my $names = $numbers{$part};

    for my $i (0 .. $#$names) {
        return $i if $names->[$i] eq $value;
    }

    die "unknown $part \"$value\"\n";
}


sub pack_token {
    my (%parts) = @_;

    my $recipient = $parts{recipient} // '';

    return pack('C C C N C a* a*',
                ($parts{version} // 1) << 4 | ($parts{key_id} // 1),
                number('privacy', $parts{privacy}) << 4
                    | number('hint', $parts{hint}),
                number('kind', $parts{kind}) << 4 | ($parts{flags} // 0),
                $parts{sent} // 0,
                length($recipient), $recipient, $parts{id} // '');
}


sub sign {
    my ($bytes, $hex) = @_;

    return $bytes . substr(hmac_sha256($bytes, pack('H*', $hex)), 0, 16);
}


sub encode {
    my ($bytes) = @_;

    return encode_base64($bytes, '') =~ tr|+/|-_|r =~ s/=+$//r;
}


sub mint {
    my (%parts) = @_;

    return encode(sign(pack_token(%parts), $parts{key}));
}


1;
