#!/usr/bin/env perl

# Copyright (C) MailPing

# The code that README.md and docs/token.md show for minting makes the tokens
# of the test vectors; and a changed vector is noticed.

use strict;
use warnings;

use File::Temp qw(tempdir);
use FindBin;
use Test::More;


my $root = "$FindBin::Bin/..";
my $dir = tempdir('mailping-XXXXXXXX', TMPDIR => 1, CLEANUP => 1);

# what calls the shown function for each vector in the file "vectors"

my %languages = (
    'mint.py' => {
        interpreter => 'python3',
        driver => <<'END',

for line in open("vectors", encoding="ascii"):
    (name, key_id, key, id, recipient, hint, privacy, kind, flags, sent,
     token) = line.rstrip("\n").split("\t")
    print(mint(key, id, recipient, int(hint), int(privacy), int(kind),
               int(flags), int(sent), int(key_id)))

for id, recipient in ("", ""), ("a@b", ""), ("a", "a@b"), ("a b", ""), \
                     ("a" * 65, ""), ("a", "a" * 33), ("a\n", ""):
    try:
        print("accepted:", mint("00" * 32, id, recipient))
    except ValueError:
        pass
END
    },

    'mint.js' => {
        interpreter => 'node',
        driver => <<'END',

const text = require("fs").readFileSync("vectors", "ascii");

for (const line of text.split("\n")) {
  if (line === "") {
    continue;
  }
  const [name, keyId, key, id, recipient, ...numbers] = line.split("\t");
  const [hint, privacy, kind, flags, sent] = numbers.map(Number);
  console.log(mint(key, id, { recipient, hint, privacy, kind, flags, sent,
                              keyId: Number(keyId) }));
}

for (const [id, recipient] of [["", ""], ["a@b", ""], ["a", "a@b"],
                               ["a b", ""], ["a".repeat(65), ""],
                               ["a", "a".repeat(33)], ["a\n", ""]]) {
  try {
    console.log("accepted:", mint("00".repeat(32), id, { recipient }));
  } catch (error) {
    if (!(error instanceof RangeError)) {
      throw error;
    }
  }
}
END
    },

    'mint.php' => {
        interpreter => 'php',
        driver => <<'END',

foreach (file("vectors", FILE_IGNORE_NEW_LINES) as $line) {
    [$name, $keyId, $key, $id, $recipient, $hint, $privacy, $kind, $flags,
     $sent, $token] = explode("\t", $line);
    echo mint($key, $id, $recipient, (int) $hint, (int) $privacy,
              (int) $kind, (int) $flags, (int) $sent, (int) $keyId), "\n";
}

foreach ([["", ""], ["a@b", ""], ["a", "a@b"], ["a b", ""],
          [str_repeat("a", 65), ""], ["a", str_repeat("a", 33)],
          ["a\n", ""]] as [$id, $recipient]) {
    try {
        echo "accepted: " . mint(str_repeat("00", 32), $id, $recipient) . "\n";
    } catch (ValueError $e) {
    }
}
END
    },
);


my @vectors = map { [ split(/\t/, $_, -1) ] } grep { !/^#/ }
                  split(/\n/, read_file("$root/t/data/token_vectors.tsv"));

ok(@vectors >= 8, scalar(@vectors) . ' vectors');
is(scalar(grep { @$_ != 11 } @vectors), 0, 'each has 11 columns');


# the same in the text

my $text = read_file("$root/docs/token.md");

for my $vector (@vectors) {
    my ($name, $key, $token) = @$vector[0, 2, 10];

    like($text, qr/^ {4}\Q$name\E +\Q$token\E$/m, "$name is in docs/token.md");

    # a long key has several lines

    (my $flat = $text) =~ s/\n {12}//g;
    like($flat, qr/\b\Q$key\E\b/, "the key of $name is in docs/token.md");
}


for my $document (qw(docs/token.md README.md)) {

    if (!-e "$root/$document") {
        SKIP: { skip("no $document", 1); }
        next;
    }

    my %code = blocks(read_file("$root/$document"));

    is_deeply([ sort keys %code ], [ sort keys %languages ],
              "$document has each language");

    for my $name (sort keys %code) {
        my $language = $languages{$name};

        if (!defined $language) {
            fail("$document: $name is of a language that is not known");
            next;
        }

        SKIP: {
            my $interpreter = find($language->{interpreter})
                // skip("no $language->{interpreter}", 2);

            my $program = $code{$name} . $language->{driver};

            is(run($interpreter, $name, $program, @vectors),
               join('', map { "$_->[10]\n" } @vectors),
               "$document: $name makes the vectors, and nothing else");

            # the control: a vector with another id is another token

            my @changed = map { [ @$_ ] } @vectors;
            $changed[-1][3] =~ s/.$/~/;

            isnt(run($interpreter, $name, $program, @changed),
                 join('', map { "$_->[10]\n" } @vectors),
                 "$document: $name, a changed vector is noticed");
        }
    }
}

done_testing();


# The code after each comment "run: name".

sub blocks {
    my ($markdown) = @_;

    my %code;

    while ($markdown =~ /^<!-- run: (\S+) -->\n```\w+\n(.*?)^```$/gms) {
        $code{$1} = $2;
    }

    return %code;
}


sub run {
    my ($interpreter, $name, $program, @rows) = @_;

    write_file("$dir/$name", $program);
    write_file("$dir/vectors", join('', map { join("\t", @$_) . "\n" } @rows));

    my $output = `cd '$dir' && '$interpreter' '$name' 2>&1`;

    return $? == 0 ? $output : "$output(exit code " . ($? >> 8) . ')';
}


sub find {
    my ($program) = @_;

    for my $path (split(/:/, $ENV{PATH})) {
        if (-x "$path/$program") {
            return "$path/$program";
        }
    }

    return undef;
}


sub read_file {
    my ($name) = @_;

    open(my $file, '<', $name) || die "$name: $!\n";
    local $/;

    return scalar(<$file>);
}


sub write_file {
    my ($name, $content) = @_;

    open(my $file, '>', $name) || die "$name: $!\n";
    print $file $content;
    close($file) || die "$name: $!\n";
}
