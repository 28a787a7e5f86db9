/* A consumer on librabbitmq that acks each message: consumer HOST PORT QUEUE PREFETCH, user and password guest. */

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdio.h>
#include <stdlib.h>

static void must(int ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "%s failed\n", what);
        exit(1);
    }
}

static void answered(amqp_connection_state_t connection, const char *what) {
    must(amqp_get_rpc_reply(connection).reply_type == AMQP_RESPONSE_NORMAL, what);
}

int main(int count, char **words) {
    must(count == 5, "the command line");
    amqp_connection_state_t connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    must(socket && amqp_socket_open(socket, words[1], atoi(words[2])) == 0, "connect");
    must(amqp_login(connection, "/", 0, 131072, 60, AMQP_SASL_METHOD_PLAIN, "guest", "guest").reply_type
             == AMQP_RESPONSE_NORMAL, "login");
    amqp_channel_open(connection, 1);
    answered(connection, "channel.open");
    amqp_basic_qos(connection, 1, 0, (uint16_t)atoi(words[4]), 0);
    answered(connection, "basic.qos");
    amqp_basic_consume(connection, 1, amqp_cstring_bytes(words[3]), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
    answered(connection, "basic.consume");
    for (;;) {
        amqp_envelope_t envelope;
        amqp_maybe_release_buffers(connection);
        must(amqp_consume_message(connection, &envelope, NULL, 0).reply_type == AMQP_RESPONSE_NORMAL, "consume");
        must(amqp_basic_ack(connection, 1, envelope.delivery_tag, 0) == 0, "basic.ack");
        amqp_destroy_envelope(&envelope);
    }
}
