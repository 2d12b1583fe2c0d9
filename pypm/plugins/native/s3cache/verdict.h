/*
 * What the end of a transfer means, in words for a person. Of what the server says only error codes and regions get
 * into a message, letter by letter, since its prose can hold parts of a request.
 *
 * Source: the S3 API reference, "Error responses".
 */
#ifndef S3CACHE_VERDICT_H
#define S3CACHE_VERDICT_H

#include "transfer.h"

void verdict_of_transfer(const transfer *t, CURLcode code, long status, const cache_settings *settings,
                         answer *result);
/* A file of this machine could not be used; `error` is the system's number. */
void verdict_of_file(int error, transfer_kind kind, answer *result);
void verdict_of_wrong_object(answer *result);
/* Reading was refused; whether that matters shows when all of it was. */
void verdict_of_denied(const cache_settings *settings, answer *result);

#endif
