// FreeBy: the deleter of an object that a C library frees by a function: std::unique_ptr<BIO, FreeBy<BIO_free_all>>.
#pragma once

namespace reconcile {

template <auto Free>
struct FreeBy {  // of any type: some libraries' handles are all void
  template <class T>
  void operator()(T* it) const {
    Free(it);
  }
};

}  // namespace reconcile
