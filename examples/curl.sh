#!/bin/sh
# Encrypts a record of at most 64 KiB from standard input and decrypts it again, with curl (7.76 or newer):
#   printf 'a record' | TENANT_KMS_URL=https://… TENANT=tenants/acme TOKEN_FILE=… CA_FILE=… sh curl.sh
# The ciphertext goes to standard error, the decrypted record to standard output. Tokens and plaintexts reach
# curl by a pipe: never by its command line, which every process of the machine can read.
set -eu
: "${TENANT_KMS_URL:?https://HOST:PORT of the operator}" "${TENANT:?namespace/name of the TenantKms}"
: "${TOKEN_FILE:?the projected token of audience tenantkms.dev}" "${CA_FILE:?ca.crt of ConfigMap tenant-kms-ca}"
session=

# call OPERATION JSON
call() {
  {
    printf 'header = "Authorization: Bearer %s"\n' "$(cat "$TOKEN_FILE")"
    [ -z "$session" ] || printf 'header = "X-Session-Token: %s"\n' "$session"
    printf 'data-binary = "%s"\n' "$(printf '%s' "$2" | sed 's/[\\"]/\\&/g')"
  } | curl --config - --silent --show-error --fail-with-body --max-time 10 --proto =https --noproxy '*' \
    --cacert "$CA_FILE" --header 'Content-Type: application/json' "$TENANT_KMS_URL/agent/v1/$1"
}

# ask FIELD OPERATION JSON: one field of the answer. An error is shown, and ends the script: its type says what to do.
ask() {
  answer=$(call "$2" "$3") || { printf '%s\n' "$answer" >&2; exit 1; }
  printf '%s\n' "$answer" | sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p"
}

plaintext=$(base64 | tr -d '\n')
session=$(ask session_token session "{\"tenant\":\"$TENANT\"}")
ciphertext=$(ask ciphertext encrypt "{\"plaintext\":\"$plaintext\"}")
printf 'ciphertext: %s\n' "$ciphertext" >&2
opened=$(ask plaintext decrypt "{\"ciphertext\":\"$ciphertext\"}")
printf '%s' "$opened" | base64 -d
