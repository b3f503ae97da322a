#include "engine/kv/block_hash.hpp"

#include <boost/test/unit_test.hpp>

#include <cstring>
#include <numeric>
#include <set>
#include <string>

#include <openssl/sha.h>
#include <xxhash.h>

using namespace troupe;

BOOST_AUTO_TEST_SUITE(block_hash_suite)

namespace {

using block_tokens = std::array<token_id, tokens_per_block>;

block_tokens counted() {
  block_tokens tokens;
  std::iota(tokens.begin(), tokens.end(), 7);
  return tokens;
}

/// The bytes that the header documents, written by hand.
std::string root_bytes() {
  return std::string("troupe.kv.1\0", 12) + std::string("\3\0\0\0cpu", 7) + std::string("\4\0\0\0salt", 8) +
         std::string("\x05\0\0\0\0\0\0\0", 8);
}

} // namespace

BOOST_AUTO_TEST_CASE(a_root_is_the_hash_of_the_documented_bytes) {
  const auto bytes = root_bytes();
  const auto fast = block_hasher::make(block_hash_kind::xxh128, "cpu")->root("salt", 5);
  const auto hash = XXH3_128bits(bytes.data(), bytes.size());
  BOOST_CHECK((fast.words == std::array<std::uint64_t, 4>{hash.low64, hash.high64, 0, 0}));
  const auto strong = block_hasher::make(block_hash_kind::sha256, "cpu")->root("salt", 5);
  unsigned char digest[32];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  BOOST_CHECK(std::memcmp(strong.words.data(), digest, 32) == 0);
}

BOOST_AUTO_TEST_CASE(a_block_is_the_hash_of_its_parent_and_its_tokens) {
  for (auto kind : {block_hash_kind::xxh128, block_hash_kind::sha256}) {
    const auto hasher = block_hasher::make(kind, "cpu");
    const auto root = hasher->root("", 0);
    const auto tokens = counted();
    std::string bytes(reinterpret_cast<const char*>(root.words.data()), 32);
    for (auto token : tokens)
      bytes += {static_cast<char>(token), 0, 0, 0};
    block_hash wanted;
    if (kind == block_hash_kind::sha256) {
      SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
             reinterpret_cast<unsigned char*>(wanted.words.data()));
    } else {
      const auto hash = XXH3_128bits(bytes.data(), bytes.size());
      wanted.words = {hash.low64, hash.high64, 0, 0};
    }
    BOOST_CHECK(hasher->next(root, tokens) == wanted);
    BOOST_CHECK(hasher->next(root, tokens) == wanted); // nothing of the last one is left
  }
}

BOOST_AUTO_TEST_CASE(whatever_differs_makes_another_name) {
  for (auto kind : {block_hash_kind::xxh128, block_hash_kind::sha256}) {
    std::set<block_hash> names;
    const auto hasher = block_hasher::make(kind, "cpu");
    for (const auto& root : {hasher->root("", 0), hasher->root("a", 0), hasher->root("", 1),
                             hasher->root(std::string_view("\0", 1), 0), block_hasher::make(kind, "gpu")->root("", 0),
                             block_hasher::make(kind, "cpua")->root("", 0)}) {
      BOOST_TEST(names.insert(root).second);
      auto tokens = counted();
      BOOST_TEST(names.insert(hasher->next(root, tokens)).second);
      for (auto& token : tokens) {
        ++token;
        BOOST_TEST(names.insert(hasher->next(root, tokens)).second);
      }
      BOOST_TEST(names.insert(hasher->next(hasher->next(root, tokens), tokens)).second);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_hash_is_written_as_64_digits_in_the_order_of_its_bytes) {
  block_hash hash;
  hash.words = {0x0123456789abcdef, 0, 0, 0xff00000000000000};
  BOOST_TEST(to_hex(hash) == std::string("efcdab8967452301").append(46, '0').append("ff"));
}

BOOST_AUTO_TEST_SUITE_END()
