/* Prints the SHA-256 of standard input, read in pieces. usage: sha256_driver PIECE_BYTES [portable] */
#include "sha256.h"

#include <stdio.h>
#include <stdlib.h>

int main(int count, char **words) {
    const size_t piece_bytes = (size_t)atoi(words[1]);
    unsigned char *piece = malloc(piece_bytes);
    char text[SHA256_TEXT_BYTES];
    sha256_state state;
    size_t got;
    sha256_begin(&state);
    if (count > 2) state.by_instructions = 0;
    while ((got = fread(piece, 1, piece_bytes, stdin)) > 0) sha256_add(&state, piece, got);
    sha256_end(&state, text);
    puts(text);
    free(piece);
    return 0;
}
