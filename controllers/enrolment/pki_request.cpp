#include "controllers/enrolment/pki_request.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <array>
#include <memory>

#include "controllers/cluster/pki.hpp"
#include "reconcile/kube/openssl.hpp"

namespace endstate::enrolment {

using reconcile::Code, reconcile::fail, reconcile::FreeBy, reconcile::Result;

namespace {

using reconcile::openssl::reader, reconcile::openssl::Request, reconcile::openssl::text_of;

void free_extensions(STACK_OF(X509_EXTENSION) * all) { sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free); }
using Names = std::unique_ptr<GENERAL_NAMES, FreeBy<GENERAL_NAMES_free>>;
using Extensions = std::unique_ptr<STACK_OF(X509_EXTENSION), FreeBy<free_extensions>>;

void read_subject(const X509_NAME* subject, RequestFacts& out) {
  for (int i = 0; i < X509_NAME_entry_count(subject); ++i) {
    const auto* entry = X509_NAME_get_entry(subject, i);
    const auto value = text_of(X509_NAME_ENTRY_get_data(entry));
    switch (OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry))) {
      case NID_commonName:
        out.more = out.more || !out.common_name.empty();
        out.common_name = value;
        break;
      case NID_organizationName: out.organizations.push_back(value); break;
      default: out.more = true;
    }
  }
}

std::string address(const ASN1_OCTET_STRING* s) {
  std::array<char, INET6_ADDRSTRLEN> out{};
  const int size = ASN1_STRING_length(s);
  if (size != 4 && size != 16) return {};
  inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(s), out.data(), out.size());
  return out.data();
}

void read_names(X509_EXTENSION* extension, RequestFacts& out) {
  const Names all(static_cast<GENERAL_NAMES*>(X509V3_EXT_d2i(extension)));
  out.more = out.more || !all;
  for (int i = 0; all && i < sk_GENERAL_NAME_num(all.get()); ++i) {
    const auto* name = sk_GENERAL_NAME_value(all.get(), i);
    if (name->type == GEN_DNS)
      out.dns_names.push_back(text_of(name->d.dNSName));
    else if (name->type == GEN_IPADD)
      out.addresses.push_back(address(name->d.iPAddress));
    else
      out.more = true;
  }
}

// What the signers put into a certificate by themselves may be asked for, too; a CA may not.
void read_extensions(X509_REQ* request, RequestFacts& out) {
  const Extensions all(X509_REQ_get_extensions(request));
  for (int i = 0; all && i < sk_X509_EXTENSION_num(all.get()); ++i) {
    auto* const extension = sk_X509_EXTENSION_value(all.get(), i);
    switch (OBJ_obj2nid(X509_EXTENSION_get_object(extension))) {
      case NID_subject_alt_name: read_names(extension, out); break;
      case NID_key_usage:
      case NID_ext_key_usage: break;
      default: out.more = true;
    }
  }
}

}  // namespace

Result<RequestFacts> read_request(std::string_view pem_base64) {
  if (pem_base64.size() > max_request) return fail(Code::invalid, "the request has more than 64 KiB");
  const auto pem = cluster::from_base64(pem_base64);
  if (!pem) return fail(Code::invalid, "the request isn't base64");
  const Request request(PEM_read_bio_X509_REQ(reader(*pem).get(), nullptr, nullptr, nullptr));
  const bool signed_well = request && X509_REQ_verify(request.get(), X509_REQ_get0_pubkey(request.get())) == 1;
  if (!signed_well) {
    ERR_clear_error();
    return fail(Code::invalid, request ? "the request isn't signed by its own key" : "the request is no PKCS #10 in PEM");
  }
  RequestFacts out;
  read_subject(X509_REQ_get_subject_name(request.get()), out);
  read_extensions(request.get(), out);
  ERR_clear_error();
  return out;
}

}  // namespace endstate::enrolment
